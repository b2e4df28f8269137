"""Models that see paint: what `tests/pipeline/ops/examples.py` paints, they find, and nothing else.

They keep the contracts of `pipeline/model.py`, and know no label: only pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.labels.geometry import touched
from pipeline.model import ClassMap, Detections, FitJob, Misfits
from schemas.errors import SampleError
from schemas.sample import ByteArray, Sample
from tests.pipeline.ops.examples import CLASSES, PAINTS, SEG_CLASSES, paint_of


class PaintDetector:
    """Every connected patch of one paint is an object; its class is that of the paint."""

    digest = "paint-detector"

    def __init__(self, blind_to: Sequence[str] = ()) -> None:
        self._blind_to = blind_to

    def sure(self, images: Sequence[ByteArray]) -> list[Detections]:
        return [self._look(image) for image in images]

    def _look(self, image_hwc: ByteArray) -> Detections:
        paint_hw = paint_of(image_hwc)
        boxes: list[list[float]] = []
        labels: list[str] = []
        for paint in range(len(PAINTS)):
            patches = (paint_hw == paint).astype(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(patches)
            for left, top, width, height, area in stats[1:].tolist():
                if area >= 20 and CLASSES[paint % 2] not in self._blind_to:
                    boxes.append([left, top, left + width, top + height])
                    labels.append(CLASSES[paint % 2])
        n = len(labels)
        return Detections(np.array(boxes, float).reshape(n, 4), np.full(n, 0.9), tuple(labels))


class PaintSegmenter:
    """The class of the paint at every pixel. Its names have another order than the dataset's."""

    digest = "paint-segmenter"
    names = SEG_CLASSES[::-1]

    def segment(self, images: Sequence[ByteArray]) -> list[ClassMap]:
        return [self._look(image) for image in images]

    def _look(self, image_hwc: ByteArray) -> ClassMap:
        paint_hw = paint_of(image_hwc)
        ids_hw = np.full(paint_hw.shape, self.names.index("background"), np.uint8)
        for paint in range(len(PAINTS)):
            ids_hw[paint_hw == paint] = self.names.index(CLASSES[paint % 2])
        return ClassMap(ids_hw, self.names)


class PaintFitter:
    """What the labels say should be painted, and is not, is a misfit. Keeps the seeds it is asked
    with.
    """

    digest = "paint-fitter"
    classes = CLASSES
    seg_classes = SEG_CLASSES

    def __init__(self) -> None:
        self.noises: list[int] = []

    def misfits(self, jobs: Sequence[FitJob]) -> list[Misfits | SampleError]:
        self.noises += [job.noise for job in jobs]
        return [self._look(job) for job in jobs]

    def _look(self, job: FitJob) -> Misfits:
        top = np.iinfo(job.image_hwc.dtype).max
        paint_hw = paint_of(
            (np.broadcast_to(job.image_hwc, (*job.image_hwc.shape[:2], 3)) // (top // 255)).astype(
                np.uint8
            )
        )
        seen_hw = np.where(paint_hw < 0, -1, paint_hw % 2)
        return np.stack([seen_hw != self._said(claim) for claim in job.claims]).astype(np.float32)

    def _said(self, claim: Sample) -> NDArray[np.int64]:
        """The number of the class at every pixel, by the boxes or else the class-id map; or -1."""
        if claim.instances is None and claim.class_map_hw is not None:
            return claim.class_map_hw.astype(np.int64) - 1
        said_hw = np.full((claim.height, claim.width), -1)
        for box, label in zip(claim.objects.boxes_n4, claim.objects.labels, strict=True):
            said_hw[touched(box)] = CLASSES.index(label)
        return said_hw
