"""Label agreement: planted faults are caught, and what the source excuses is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from pipeline.gate import GateContext, Verdict
from pipeline.gates.label_agreement import LabelAgreement
from pipeline.model import Detector, Segmenter
from schemas.sample import IGNORE_ID, ByteArray, Instances, Sample
from tests.pipeline.gates.seers import PaintDetector, PaintSegmenter
from tests.pipeline.ops.examples import GROUND, PAINTS, SEG_CLASSES, deep, painted

FREE = (slice(2, 9), slice(20, 32))
"""Where `painted()` has no object."""


def judged(
    source: Sample,
    sample: Sample,
    model: Detector | Segmenter,
    *,
    aligned: bool = True,
    gate: LabelAgreement | None = None,
) -> Verdict:
    gate = gate or LabelAgreement(model="it")
    context = GateContext(SEG_CLASSES, (aligned,))
    return gate.judge([source], [sample], {"it": model}, context)[0]


def repainted(sample: Sample, place: tuple[slice, slice], colour: Sequence[int]) -> Sample:
    image = sample.image_hwc.copy()
    image[place] = colour
    return replace(sample, image_hwc=image)


def under(sample: Sample, i: int) -> tuple[slice, slice]:
    x0, y0, x1, y1 = sample.objects.boxes_n4[i].astype(int)
    return slice(y0, y1), slice(x0, x1)


def erased(sample: Sample, i: int) -> Sample:
    """The object is gone, and its label is not."""
    return repainted(sample, under(sample, i), [GROUND] * 3)


def flipped(sample: Sample) -> Sample:
    boxes = sample.objects.boxes_n4[:, [2, 1, 0, 3]] * [-1, 1, -1, 1]
    boxes = boxes + np.array([sample.width, 0, sample.width, 0])
    image: ByteArray = np.ascontiguousarray(sample.rgb_hwc[:, ::-1])
    return replace(sample, image_hwc=image, instances=Instances(boxes, sample.objects.labels))


def labelled(sample: Sample, box: Sequence[float], label: str) -> Sample:
    objects = sample.objects
    boxes = np.concatenate([objects.boxes_n4, np.array([box], float)])
    return replace(sample, instances=Instances(boxes, (*objects.labels, label)))


def unlabelled(sample: Sample, i: int) -> Sample:
    kept = [j for j in range(len(sample.objects)) if j != i]
    return replace(sample, instances=sample.objects.take(kept))


SOURCE = painted()
BLACK = replace(SOURCE, image_hwc=np.zeros_like(SOURCE.image_hwc))
STRAY = repainted(SOURCE, FREE, PAINTS[0])
FREE_BOX = (20.0, 2, 32, 9)

CAUGHT = {
    "erased": (SOURCE, erased(SOURCE, 1), "object_lost", 2 / 3, 0),
    "swapped": (SOURCE, repainted(SOURCE, under(SOURCE, 0), PAINTS[1]), "object_lost", 2 / 3, 0),
    "invented": (SOURCE, STRAY, "object_invented", 1, 1),
    "black": (SOURCE, BLACK, "object_lost", 0, 0),
    "pasted, and not there": (
        SOURCE, labelled(SOURCE, FREE_BOX, "disc"), "object_lost", 3 / 4, 0,
    ),
    "removed, and still there": (SOURCE, unlabelled(SOURCE, 2), "object_invented", 1, 1),
}  # fmt: skip


@pytest.mark.parametrize("case", CAUGHT)
def test_planted_faults_are_caught(case: str) -> None:
    source, sample, reason, agreed, invented = CAUGHT[case]
    verdict = judged(source, sample, PaintDetector())
    assert (verdict.kept, verdict.reason) == (False, reason)
    assert verdict.scores == {"agreed": pytest.approx(agreed), "invented": invented}


PASSED = {
    "untouched": (SOURCE, SOURCE),
    "pasted, and there": (SOURCE, labelled(STRAY, FREE_BOX, "disc")),
    "removed, and gone": (SOURCE, unlabelled(erased(SOURCE, 2), 2)),
    "there before, without a label": (STRAY, STRAY),
    "empty": (unlabelled(painted(count=1), 0), unlabelled(painted(count=1), 0)),
}


@pytest.mark.parametrize("case", PASSED)
def test_what_is_as_the_labels_say_passes(case: str) -> None:
    verdict = judged(*PASSED[case], PaintDetector())
    assert verdict == Verdict(None, {"agreed": 1.0, "invented": 0.0})


def test_an_object_that_the_detector_never_saw_cannot_be_lost() -> None:
    blind = PaintDetector(blind_to=("rod",))
    assert judged(SOURCE, erased(SOURCE, 1), blind).scores["agreed"] == 1
    assert judged(SOURCE, erased(SOURCE, 0), blind).scores["agreed"] == 1 / 2


def test_what_moved_is_held_against_the_share_that_was_found_in_the_source() -> None:
    detector = PaintDetector()
    assert judged(STRAY, flipped(STRAY), detector, aligned=False).kept
    lost = judged(STRAY, erased(flipped(STRAY), 1), detector, aligned=False)
    assert (lost.reason, lost.scores["agreed"]) == ("object_lost", pytest.approx(2 / 3))
    # half of the discs were found before, and half are enough; both were found, and one is not
    half = erased(SOURCE, 0)
    assert judged(half, flipped(half), detector, aligned=False).kept
    two = repainted(flipped(STRAY), (slice(40, 47), slice(20, 32)), PAINTS[0])
    verdict = judged(STRAY, two, detector, aligned=False)
    assert (verdict.reason, verdict.scores["invented"]) == ("object_invented", 1)


def test_thresholds_are_the_recipes_and_scores_are_written_whatever_they_are() -> None:
    lenient = LabelAgreement(model="it", min_agreed=0.5, max_invented=1)
    strict = LabelAgreement(model="it", min_agreed=1, max_invented=0)
    sample = erased(STRAY, 1)
    verdicts = [judged(SOURCE, sample, PaintDetector(), gate=gate) for gate in (lenient, strict)]
    assert [verdict.kept for verdict in verdicts] == [True, False]
    assert verdicts[0].scores == verdicts[1].scores


def test_each_object_has_a_verdict_of_its_own() -> None:
    gate = LabelAgreement(model="it")
    seen = gate.objects([(SOURCE, erased(SOURCE, 1))], [True], PaintDetector())[0]
    assert [one.lost for one in seen.objects] == [False, True, False]
    assert [one.counterpart for one in seen.objects] == [0, 1, 2]


def test_a_sample_without_labels_of_the_models_kind_is_kept_without_a_score() -> None:
    bare = painted(boxes=False, class_map=False)
    for model in (PaintDetector(), PaintSegmenter()):
        assert judged(bare, bare, model) == Verdict(None, {})


def test_a_deep_image_cannot_be_judged_and_is_not_kept() -> None:
    for model in (PaintDetector(), PaintSegmenter()):
        assert judged(deep(SOURCE), deep(SOURCE), model) == Verdict("deep_image", {"deep": 1.0})


def test_a_class_map_is_held_against_what_the_segmenter_sees() -> None:
    segmenter = PaintSegmenter()
    assert judged(SOURCE, SOURCE, segmenter) == Verdict(None, {"miou": 1.0})
    swapped = repainted(SOURCE, under(SOURCE, 1), PAINTS[0])
    for sample in (erased(SOURCE, 1), swapped, BLACK):
        verdict = judged(SOURCE, sample, segmenter)
        assert verdict.reason == "class_map_differs"
        assert verdict.scores["miou"] < 0.7


def test_the_source_is_the_yardstick_of_the_class_map() -> None:
    worse = erased(SOURCE, 1)  # the rod is not there, and never was
    assert judged(worse, worse, PaintSegmenter()).scores["miou"] == 1


def test_pixels_that_nobody_labelled_count_nowhere() -> None:
    assert SOURCE.class_map_hw is not None
    ids_hw = SOURCE.class_map_hw.copy()
    ids_hw[under(SOURCE, 1)] = IGNORE_ID
    sample = replace(erased(SOURCE, 1), class_map_hw=ids_hw)
    assert judged(SOURCE, sample, PaintSegmenter()).scores["miou"] == 1
