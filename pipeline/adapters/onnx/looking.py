"""ONNX networks in use: one image at a time, in a letterbox of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.onnx.answers import Answer, class_map_of, detections_of
from pipeline.adapters.onnx.layout import Plan
from pipeline.adapters.onnx.letterbox import Letterbox
from pipeline.adapters.onnx.session import Session
from pipeline.model import ClassMap, Detections
from schemas.models import OnnxModel
from schemas.sample import ByteArray

MULTIPLE: Final = 32
"""What networks with five halvings need."""

DTYPES: Final = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


class _Looker:
    """A network in its session, shown one image."""

    def __init__(self, session: Session, plan: Plan, spec: OnnxModel, digest: str) -> None:
        self.digest = digest
        self._session, self._plan, self._spec = session, plan, spec

    def _shown(self, image_hwc: ByteArray) -> tuple[list[Answer], Letterbox]:
        plan = self._plan
        hw = (image_hwc.shape[0], image_hwc.shape[1])
        multiple = 1 if plan.kind == "boxes_labels_scores" else MULTIPLE
        if plan.hw is None:
            box = Letterbox.at_own_size(hw, multiple)
        else:
            box = Letterbox.fitting(hw, plan.hw)
        feed = {plan.input.name: self._values(box.put(image_hwc))}
        return self._session.run(list(plan.outputs), feed), box

    def _values(self, seen_hwc: ByteArray) -> NDArray[np.generic]:
        dtype = DTYPES[self._plan.input.type]
        values: NDArray[np.generic] = seen_hwc
        if dtype is not np.uint8:
            mean, deviation = (
                np.array(three, np.float32) for three in (self._spec.mean, self._spec.deviation)
            )
            values = ((seen_hwc / np.float32(255) - mean) / deviation).astype(dtype)
        values = values if self._plan.channels_last else values.transpose(2, 0, 1)
        return np.ascontiguousarray(values[None] if self._plan.batched else values)


class OnnxDetector(_Looker):
    """Finds objects."""

    def sure(self, images: Sequence[ByteArray]) -> list[Detections]:
        """What has a name and a score of the threshold or more."""
        return [self._look(image) for image in images]

    def _look(self, image_hwc: ByteArray) -> Detections:
        answers, box = self._shown(image_hwc)
        spec = self._spec
        return detections_of(self._plan.kind, answers, box, spec.classes, spec.threshold)


class OnnxSegmenter(_Looker):
    """Tells a class for every pixel."""

    def segment(self, images: Sequence[ByteArray]) -> list[ClassMap]:
        """The class with the largest logit, or the id that the network gives."""
        return [self._look(image) for image in images]

    def _look(self, image_hwc: ByteArray) -> ClassMap:
        (answer,), box = self._shown(image_hwc)
        return class_map_of(self._plan.kind, answer, box, self._spec.classes)
