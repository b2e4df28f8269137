"""Cutouts: by mask, by class-id map, by an outline derived from the box."""

from __future__ import annotations

import numpy as np

from pipeline.scene.cutout import cutout, object_id
from schemas.sample import Sample
from tests.pipeline.scenes import discs


def overlap(sample: Sample, i: int, true: np.ndarray) -> float:
    found = cutout(sample, i).shape.drawn(sample.height, sample.width)
    return float((found & true).sum() / (found | true).sum())


def test_a_mask_is_cut_out_as_it_is_given() -> None:
    sample = discs([(40, 40, 15, "a"), (55, 45, 15, "a")], masks=True)
    masks = sample.objects.masks_nhw
    assert masks is not None
    assert overlap(sample, 0, masks[0]) == 1
    assert cutout(sample, 0).clean


def test_objects_that_touch_in_a_class_map_get_their_own_part_of_it() -> None:
    places = [(40, 40, 15, "a"), (68, 44, 14, "a")]
    true = discs(places, masks=True).objects.masks_nhw
    sample = discs(places, class_map=True)
    assert true is not None
    for i in range(2):
        assert overlap(sample, i, true[i]) > 0.93
        assert cutout(sample, i).clean
        assert object_id(sample, cutout(sample, i).shape) == 1


def test_an_outline_is_found_in_a_loose_box_from_the_picture_alone() -> None:
    places = [(40.5, 42, 16, "a")]
    true = discs(places, masks=True).objects.masks_nhw
    sample = discs(places, slack=4)
    assert true is not None
    assert cutout(sample, 0).clean
    assert overlap(sample, 0, true[0]) > 0.9


def test_what_touches_or_is_cut_by_the_border_has_no_clean_outline() -> None:
    sample = discs([(40, 40, 16, "a"), (66, 40, 16, "a"), (4, 70, 16, "a")], slack=2)
    assert [cutout(sample, i).clean for i in range(3)] == [False, False, False]


def test_what_nobody_sees_has_no_clean_outline() -> None:
    sample = discs([(40, 40, 16, "a")], bright=200, slack=2)
    assert not cutout(sample, 0).clean
