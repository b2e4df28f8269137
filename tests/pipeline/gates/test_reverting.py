"""Reverting: what is lost or invented is put back from the source where that can be done, and the
rest decides.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.gate import GateContext, Verdict
from pipeline.gates.label_agreement import LabelAgreement
from pipeline.gates.putting_back import Place, put_back
from pipeline.gates.reverting import reverted
from pipeline.labels.regions import objects_region
from schemas.sample import ByteArray, Sample
from tests.pipeline.gates.planted import (
    FREE,
    FREE_BOX,
    SOURCE,
    STRAY,
    erased,
    labelled,
    repainted,
    under,
    unlabelled,
)
from tests.pipeline.gates.seers import PaintDetector
from tests.pipeline.ops.examples import PAINTS, SEG_CLASSES, painted

GATE = LabelAgreement(model="it")


def judged(
    source: Sample, sample: Sample, aligned: bool = True, gate: LabelAgreement = GATE
) -> Verdict:
    context = GateContext(SEG_CLASSES, (aligned,))
    return gate.judge([source], [sample], {"it": PaintDetector()}, context)[0]


def grainy(sample: Sample) -> Sample:
    """Every pixel another one, so that what was put back can be told from what was not."""
    noise = np.random.default_rng(5).integers(1, 4, sample.image_hwc.shape)
    return replace(sample, image_hwc=(sample.rgb_hwc + noise).astype(np.uint8))


MENDED = {
    "erased": (erased(grainy(SOURCE), 1), under(SOURCE, 1), 1),
    "swapped": (repainted(grainy(SOURCE), under(SOURCE, 0), PAINTS[1]), under(SOURCE, 0), 1),
    "invented": (repainted(grainy(SOURCE), FREE, PAINTS[0]), FREE, 1),
}


@pytest.mark.parametrize("case", MENDED)
def test_what_is_lost_or_invented_is_as_in_the_source_again(case: str) -> None:
    sample, place, count = MENDED[case]
    verdict = judged(SOURCE, sample)
    assert verdict.kept
    assert verdict.scores == {
        "agreed": 1,
        "invented": 0,
        "reverted": count,
        "reverted_share": pytest.approx(count / 3),
    }
    assert verdict.mended is not None
    assert np.array_equal(verdict.mended.image_hwc[place], SOURCE.image_hwc[place])
    assert verdict.mended.objects is sample.objects


def test_pixels_away_from_what_is_put_back_stay_as_they_were() -> None:
    sample = erased(grainy(SOURCE), 1)
    mended = judged(SOURCE, sample).mended
    assert mended is not None
    changed = (mended.image_hwc != sample.image_hwc).any(axis=2)
    rows, columns = np.nonzero(changed)
    x0, y0, x1, y1 = SOURCE.objects.boxes_n4[1]
    ring = 4
    assert rows.min() >= y0 - ring
    assert rows.max() < y1 + ring
    assert columns.min() >= x0 - ring
    assert columns.max() < x1 + ring


def test_an_object_with_a_mask_is_put_back_in_its_mask() -> None:
    source = painted(masks=True)
    masks = source.objects.masks_nhw
    assert masks is not None
    slim = masks.copy()
    slim[1, :, : int(source.objects.boxes_n4[1, 0]) + 4] = False
    source = replace(source, instances=replace(source.objects, masks_nhw=slim))
    gate = LabelAgreement(model="it")
    sample = erased(grainy(source), 1)
    seen = gate.objects([(source, sample)], [True], PaintDetector())[0]
    mended, count = reverted(source, sample, seen)
    assert count == 1
    same = (mended.image_hwc == source.image_hwc).all(axis=2)
    assert same[slim[1]].all()
    assert not same[masks[1] & ~slim[1]].all()


def test_a_sample_that_is_as_its_labels_say_is_handed_on_as_it_is() -> None:
    verdict = judged(SOURCE, grainy(SOURCE))
    assert (verdict.kept, verdict.mended) == (True, None)
    assert verdict.scores["reverted"] == 0


MOVED = {
    "not aligned": (SOURCE, erased(SOURCE, 1), False, "object_lost"),
    "not aligned, invented": (SOURCE, STRAY, False, "object_invented"),
    "pasted, and not there": (SOURCE, labelled(SOURCE, FREE_BOX, "disc"), True, "object_lost"),
    "removed, and still there": (SOURCE, unlabelled(SOURCE, 2), True, "object_invented"),
    "of another tone": (
        SOURCE,
        replace(erased(SOURCE, 1), image_hwc=erased(SOURCE, 1).rgb_hwc - np.uint8(12)),
        True,
        "object_lost",
    ),
}


@pytest.mark.parametrize("case", MOVED)
def test_what_cannot_be_put_back_decides(case: str) -> None:
    source, sample, aligned, reason = MOVED[case]
    verdict = judged(source, sample, aligned)
    assert (verdict.reason, verdict.mended, verdict.scores["reverted"]) == (reason, None, 0)


def test_a_pasted_object_is_not_painted_over() -> None:
    x0, y0, x1, _ = SOURCE.objects.boxes_n4[1]
    beside = (x0, y0 - 9, x1, y0 - 2)
    place = slice(int(y0) - 9, int(y0) - 2), slice(int(x0), int(x1))
    pasted = labelled(repainted(erased(SOURCE, 1), place, PAINTS[0]), beside, "disc")
    verdict = judged(SOURCE, pasted)
    assert (verdict.reason, verdict.scores["reverted"]) == ("object_lost", 0)


def test_a_sample_that_would_be_mostly_its_source_again_is_rejected() -> None:
    sample = erased(erased(SOURCE, 0), 1)
    verdict = judged(SOURCE, sample)
    assert (verdict.reason, verdict.scores["agreed"]) == ("mostly_reverted", 1)
    assert judged(SOURCE, sample, gate=LabelAgreement(model="it", max_reverted=0.7)).kept


def test_without_revert_nothing_is_put_back() -> None:
    verdict = judged(SOURCE, erased(SOURCE, 1), gate=LabelAgreement(model="it", revert=False))
    assert (verdict.reason, verdict.mended) == ("object_lost", None)
    assert verdict.scores == {"agreed": pytest.approx(2 / 3), "invented": 0}


def test_the_border_of_what_is_put_back_shows_no_step() -> None:
    """Two smooth pictures, six gray levels apart: nowhere do neighbours differ by more than two."""
    slope = np.linspace(90, 120, 96)
    source: ByteArray = np.broadcast_to(slope[None, :, None], (64, 96, 3)).astype(np.uint8)
    core = objects_region(painted(64, 96, 1))
    made = put_back(source, source + np.uint8(6), [Place.of(core)]).astype(int)
    assert np.abs(np.diff(made, axis=0)).max() <= 2
    assert np.abs(np.diff(made, axis=1)).max() <= 2
    assert (made == source)[core].all()
