"""Label agreement: what the labels say is there to be seen, and nothing else.

A detector or a segmenter of the user's own looks at the augmented image and at its source. What it
sees in the source is the yardstick (`objects_seen.py`, `classes_seen.py`): an object that it never
saw cannot be lost, and a thing that nobody labelled is not invented because it was there before.

With a detector: `agreed`, the share of the expected labels that are found with their class and an
IoU of `min_iou`, must be `min_agreed`; `invented`, the number of objects that are found without a
label, at most `max_invented`. A sample without boxes is not judged. With a segmenter: `miou`, the
share of the source's IoU that the class-id map keeps over all its classes, must be `min_miou`. All
scores are written, whatever the verdict.

With a denoiser of our own, for those who have neither: `fits`, the share of the expected labels
that it finds more likely than none and than other classes (`labels_fit.py`), must be `min_fits`. It
sees no invented objects. A sample that it cannot carry is not kept: `not_judged`.

Detectors and segmenters see 8 bits: a deep image cannot be judged, and is not kept: `deep_image`.

With `revert` an object that is lost, and one that is invented, is replaced by the source's pixels
where that can be done without a trace (`reverting.py`), and looked at again. The scores are those
of what is stored; `reverted` counts the places that were put back, and `reverted_share`, that count
among the objects, may be `max_reverted`: what is mostly its source again is not worth storing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal, cast

from pydantic import Field

from pipeline.detection.agreement import MIN_IOU
from pipeline.gate import Gate, GateContext, Measured
from pipeline.gates.classes_seen import ClassSeen, MapSeen, compare_maps, miou
from pipeline.gates.labels_fit import FittersEye
from pipeline.gates.objects_seen import DetectorsEye, Seen
from pipeline.gates.once import once_each
from pipeline.gates.reverting import Eye, Outlook, looked_at
from pipeline.model import Detector, Fitter, Job, Models, Segmenter
from schemas.sample import Sample


class LabelAgreement(Gate):
    """Keeps what a model sees as the labels say it, mended where that can be done."""

    kind: Literal["label_agreement"] = "label_agreement"
    model: str
    min_iou: float = Field(MIN_IOU, gt=0, le=1)
    min_agreed: float = Field(1.0, ge=0, le=1)
    max_invented: int = Field(0, ge=0)
    min_miou: float = Field(0.8, ge=0, le=1)
    min_fits: float = Field(1.0, ge=0, le=1)
    revert: bool = Field(True, description="put the source's pixels back where an object differs")
    max_reverted: float = Field(0.5, ge=0, le=1, description="share of the objects")

    jobs: ClassVar[tuple[Job, ...]] = ("detect", "segment", "fit")
    mends: ClassVar[bool] = True
    measures_with: ClassVar[tuple[str, ...]] = ("min_iou", "revert")

    def measure(
        self,
        sources: Sequence[Sample],
        samples: Sequence[Sample],
        models: Models,
        context: GateContext,
    ) -> list[Measured]:
        """Scores are `agreed`, `invented`, `fits`, `reverted`, `reverted_share` and `miou`; `deep`
        or `not_judged` where it cannot look.
        """
        model = models[self.model]
        pairs = list(zip(sources, samples, strict=True))
        able = [
            i
            for i, pair in enumerate(pairs)
            if isinstance(model, Fitter) or not any(one.deep for one in pair)
        ]
        chosen, aligned = [pairs[i] for i in able], [context.aligned[i] for i in able]
        if isinstance(model, Segmenter):
            classes = self.classes(chosen, context.seg_classes, model)
            found = {place: Measured({"miou": miou(seen)}) for place, seen in classes.items()}
        else:
            found = self._by_objects(chosen, aligned, cast(Detector | Fitter, model))
        measured = [Measured({"deep": 1.0}) for _ in samples]
        for place, i in enumerate(able):
            measured[i] = found.get(place, Measured({}))
        return measured

    def decide(self, scores: Mapping[str, float]) -> str | None:
        """The first of these reasons that holds."""
        misses = {
            "deep_image": "deep" in scores,
            "not_judged": "not_judged" in scores,
            "object_lost": scores.get("agreed", 1.0) < self.min_agreed,
            "labels_do_not_fit": scores.get("fits", 1.0) < self.min_fits,
            "object_invented": scores.get("invented", 0.0) > self.max_invented,
            "mostly_reverted": scores.get("reverted_share", 0.0) > self.max_reverted,
            "class_map_differs": scores.get("miou", 1.0) < self.min_miou,
        }
        return next((slug for slug, missed in misses.items() if missed), None)

    def objects(
        self, pairs: Sequence[tuple[Sample, Sample]], aligned: Sequence[bool], model: Detector
    ) -> dict[int, Seen]:
        """By the position of each sample with boxes: its objects as the detector sees them."""
        asked = [i for i, (_, sample) in enumerate(pairs) if sample.instances is not None]
        samples = [pairs[i][1] for i in asked]
        eye = self._eye([pairs[i][0] for i in asked], [aligned[i] for i in asked], model)
        return dict(zip(asked, eye.see(range(len(asked)), samples), strict=True))

    def classes(
        self, pairs: Sequence[tuple[Sample, Sample]], names: Sequence[str], model: Segmenter
    ) -> dict[int, tuple[ClassSeen, ...]]:
        """By the position of each sample with a class-id map: its classes as the segmenter sees
        them.
        """
        asked = [i for i, (_, sample) in enumerate(pairs) if sample.class_map_hw is not None]
        sources = once_each(
            [pairs[i][0] for i in asked],
            lambda different: model.segment([one.rgb_hwc for one in different]),
        )
        samples = model.segment([pairs[i][1].rgb_hwc for i in asked])
        return {
            i: compare_maps(MapSeen.of(pairs[i][0], before), MapSeen.of(pairs[i][1], after), names)
            for i, before, after in zip(asked, sources, samples, strict=True)
        }

    def _by_objects(
        self,
        pairs: Sequence[tuple[Sample, Sample]],
        aligned: Sequence[bool],
        model: Detector | Fitter,
    ) -> dict[int, Measured]:
        mapped = isinstance(model, Fitter)
        asked = [
            i
            for i, (_, sample) in enumerate(pairs)
            if sample.instances is not None or (mapped and sample.class_map_hw is not None)
        ]
        sources, samples = ([pairs[i][side] for i in asked] for side in (0, 1))
        eye = self._eye(sources, [aligned[i] for i in asked], model)
        outlooks = looked_at(eye, sources, samples, self.revert)
        return {
            i: self._measured(sample, one, "fits" if mapped else "agreed")
            for i, sample, one in zip(asked, samples, outlooks, strict=True)
        }

    def _eye(
        self, sources: Sequence[Sample], aligned: Sequence[bool], model: Detector | Fitter
    ) -> Eye:
        if isinstance(model, Fitter):
            return FittersEye(sources, aligned, model)
        return DetectorsEye(sources, aligned, model, self.min_iou)

    def _measured(self, sample: Sample, one: Outlook, name: str) -> Measured:
        if one.seen.blind:
            return Measured({"not_judged": 1.0})
        scores = {name: one.seen.agreed}
        if name == "agreed":
            scores["invented"] = float(one.seen.invented)
        if self.revert:
            scores |= {"reverted": float(one.reverted), "reverted_share": one.share}
        if one.image_hwc is None:
            return Measured(scores)
        return Measured(scores, replace(sample, image_hwc=one.image_hwc))
