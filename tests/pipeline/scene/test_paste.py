"""Pasting, by painting: what is seen is labelled, what is hidden is not, all else stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.labels.geometry import boxes_from_masks
from pipeline.scene.cutout import cutout
from pipeline.scene.layout import Placed
from pipeline.scene.light import contrasts
from pipeline.scene.paste import REACH, RIM, paste
from schemas.sample import IGNORE_ID, Sample
from tests.pipeline.scenes import discs

HERE = discs([(40, 48, 14, "a"), (100, 30, 12, "b")], masks=True, class_map=True)
DONOR = discs([(60, 50, 12, "b")], masks=True, class_map=True, key="donor")
OVER = Placed("donor", 0, 52.0, 48.0, 1.0, 0.0, False)


def pasted(sample: Sample, one: Placed = OVER, donor: Sample = DONOR) -> Sample:
    return paste(sample, [one], {"donor": donor}).sample


def test_what_is_hidden_loses_its_mask_and_its_box_is_tight_to_the_rest() -> None:
    after = pasted(HERE)
    before, masks = HERE.objects.masks_nhw, after.objects.masks_nhw
    assert before is not None
    assert masks is not None
    assert after.objects.labels == ("a", "b", "b")
    assert np.array_equal(masks[0], before[0] & ~masks[2])
    assert 0 < masks[0].sum() < before[0].sum()
    assert np.array_equal(masks[1], before[1])
    assert np.array_equal(after.objects.boxes_n4, boxes_from_masks(masks))
    assert after.objects.boxes_n4[0, 2] < HERE.objects.boxes_n4[0, 2]


def test_a_pasted_mask_has_the_class_id_of_its_donor() -> None:
    ids = DONOR.class_map_hw
    assert ids is not None
    after = pasted(HERE, donor=replace(DONOR, class_map_hw=ids * np.uint8(2)))
    assert after.class_map_hw is not None
    assert after.objects.masks_nhw is not None
    assert set(after.class_map_hw[after.objects.masks_nhw[2]].tolist()) == {2}
    unknown = pasted(HERE, donor=replace(DONOR, class_map_hw=None))
    assert unknown.class_map_hw is not None
    assert unknown.class_map_hw[48, 52] == IGNORE_ID


def test_a_box_without_a_mask_moves_in_where_the_outline_says_so() -> None:
    loose = discs([(40, 48, 14, "a"), (100, 30, 12, "b")], slack=3)
    assert cutout(loose, 0).clean
    box, before = pasted(loose).objects.boxes_n4[0], loose.objects.boxes_n4[0]
    assert np.array_equal(box[[0, 1, 3]], before[[0, 1, 3]])
    assert box[2] < before[2] - 3
    faint = discs([(40, 48, 14, "a"), (100, 30, 12, "b")], slack=3, bright=199)
    assert np.array_equal(pasted(faint).objects.boxes_n4[0], faint.objects.boxes_n4[0])


def test_no_pixel_changes_but_around_what_is_pasted() -> None:
    one = Placed("donor", 0, 30.3, 70.6, 1.1, 33.0, True)
    made = paste(HERE, [one], {"donor": DONOR})
    masks = made.sample.objects.masks_nhw
    assert masks is not None
    y, x = np.mgrid[: HERE.height, : HERE.width] + 0.5
    far = np.hypot(x - 30.3, y - 70.6) > 12 * 1.1 + REACH + 1.5
    assert np.array_equal(made.sample.image_hwc[far], HERE.image_hwc[far])
    assert not np.array_equal(made.sample.image_hwc, HERE.image_hwc)
    assert not made.rim_hw[np.hypot(x - 30.3, y - 70.6) > 12 * 1.1 + RIM + 2].any()


def test_a_pasted_object_takes_the_light_of_its_new_image() -> None:
    dim = discs([(60, 50, 12, "b")], ground=20, bright=60, masks=True, key="donor")
    here = discs([(100, 30, 12, "b")], ground=10, bright=70, masks=True)
    after = pasted(here, Placed("donor", 0, 40.0, 60.0, 1.0, 0.0, False), dim)
    masks = after.objects.masks_nhw
    assert masks is not None
    assert float(np.median(after.image_hwc[masks[1]])) == pytest.approx(70, abs=4)
    assert contrasts(here)["b"].tolist() == pytest.approx([60] * 3, abs=1)


def test_an_object_that_is_hidden_altogether_is_not_labelled() -> None:
    after = pasted(HERE, Placed("donor", 0, 40.0, 48.0, 1.5, 0.0, False))
    assert after.objects.labels == ("b", "b")
