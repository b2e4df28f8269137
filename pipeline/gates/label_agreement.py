"""Label agreement: what the labels say is there to be seen, and nothing else.

A detector or a segmenter of the user's own looks at the augmented image and at its source. What it
sees in the source is the yardstick (`objects_seen.py`, `classes_seen.py`): an object that it never
saw cannot be lost, and a thing that nobody labelled is not invented because it was there before.

With a detector: `agreed`, the share of the expected labels that are found with their class and an
IoU of `min_iou`, must be `min_agreed`; `invented`, the number of objects that are found without a
label, at most `max_invented`. A sample without boxes is not judged. With a segmenter: `miou`, the
share of the source's IoU that the class-id map keeps over all its classes, must be `min_miou`. All
scores are written, whatever the verdict.

Detectors and segmenters see 8 bits: a deep image cannot be judged, and is not kept: `deep_image`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal, TypeVar

from pydantic import Field

from pipeline.detection.agreement import MIN_IOU
from pipeline.gate import Gate, GateContext, Measured
from pipeline.gates.classes_seen import ClassSeen, MapSeen, compare_maps, miou
from pipeline.gates.objects_seen import Picture, Seen, compare
from pipeline.model import Detections, Detector, Job, Models, Segmenter
from schemas.sample import ByteArray, Sample

T = TypeVar("T")


class LabelAgreement(Gate):
    """Keeps what a model sees as the labels say it."""

    kind: Literal["label_agreement"] = "label_agreement"
    model: str
    min_iou: float = Field(MIN_IOU, gt=0, le=1)
    min_agreed: float = Field(1.0, ge=0, le=1)
    max_invented: int = Field(0, ge=0)
    min_miou: float = Field(0.8, ge=0, le=1)

    jobs: ClassVar[tuple[Job, ...]] = ("detect", "segment")

    def measure(
        self,
        sources: Sequence[Sample],
        samples: Sequence[Sample],
        models: Models,
        context: GateContext,
    ) -> list[Measured]:
        """Scores are `agreed`, `invented` and `miou`; `deep` where it cannot look."""
        model = models[self.model]
        shallow = [
            i
            for i, pair in enumerate(zip(sources, samples, strict=True))
            if not any(one.deep for one in pair)
        ]
        pairs = [(sources[i], samples[i]) for i in shallow]
        aligned = [context.aligned[i] for i in shallow]
        objects = self.objects(pairs, aligned, model) if isinstance(model, Detector) else {}
        names = context.seg_classes
        classes = self.classes(pairs, names, model) if isinstance(model, Segmenter) else {}
        measured = [Measured({"deep": 1.0}) for _ in samples]
        for place, i in enumerate(shallow):
            measured[i] = Measured(_scores(objects.get(place), classes.get(place)))
        return measured

    def decide(self, scores: Mapping[str, float]) -> str | None:
        """Reasons are `object_lost`, `object_invented`, `class_map_differs` and `deep_image`."""
        if "deep" in scores:
            return "deep_image"
        if scores.get("agreed", 1.0) < self.min_agreed:
            return "object_lost"
        if scores.get("invented", 0.0) > self.max_invented:
            return "object_invented"
        if scores.get("miou", 1.0) < self.min_miou:
            return "class_map_differs"
        return None

    def objects(
        self, pairs: Sequence[tuple[Sample, Sample]], aligned: Sequence[bool], model: Detector
    ) -> dict[int, Seen]:
        """By the position of each sample with boxes: its objects as the detector sees them."""
        asked = [i for i, (_, sample) in enumerate(pairs) if sample.instances is not None]
        sources = _once([pairs[i][0].rgb_hwc for i in asked], model.sure)
        samples = model.sure([pairs[i][1].rgb_hwc for i in asked])
        seen = {}
        for i, before, after in zip(asked, sources, samples, strict=True):
            source, sample = pairs[i]
            pictures = _picture(source, before), _picture(sample, after)
            seen[i] = compare(*pictures, self.min_iou, aligned[i])
        return seen

    def classes(
        self, pairs: Sequence[tuple[Sample, Sample]], names: Sequence[str], model: Segmenter
    ) -> dict[int, tuple[ClassSeen, ...]]:
        """By the position of each sample with a class-id map: its classes as the segmenter sees
        them.
        """
        asked = [i for i, (_, sample) in enumerate(pairs) if sample.class_map_hw is not None]
        sources = _once([pairs[i][0].rgb_hwc for i in asked], model.segment)
        samples = model.segment([pairs[i][1].rgb_hwc for i in asked])
        return {
            i: compare_maps(MapSeen.of(pairs[i][0], before), MapSeen.of(pairs[i][1], after), names)
            for i, before, after in zip(asked, sources, samples, strict=True)
        }


def _scores(objects: Seen | None, classes: tuple[ClassSeen, ...] | None) -> dict[str, float]:
    scores: dict[str, float] = {}
    if objects is not None:
        scores |= {"agreed": objects.agreed, "invented": float(objects.invented)}
    if classes is not None:
        scores["miou"] = miou(classes)
    return scores


def _picture(sample: Sample, found: Detections) -> Picture:
    return Picture(sample.objects, found)


def _once(images: Sequence[ByteArray], look: Callable[[Sequence[ByteArray]], list[T]]) -> list[T]:
    """What is seen in each image; copies of one source share its pixels, and are looked at once."""
    different = {id(image): image for image in images}
    seen = dict(zip(different, look(list(different.values())), strict=True))
    return [seen[id(image)] for image in images]
