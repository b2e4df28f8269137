"""Laws of boxes and masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.labels.geometry import (
    areas,
    boxes_from_masks,
    clip,
    iou,
    overhang,
    painted,
    rle_decode,
    rle_encode,
)
from schemas.sample import BoolArray

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@given(MASKS)
def test_run_lengths_decode_to_the_same_mask(mask_hw: BoolArray) -> None:
    assert np.array_equal(rle_decode(rle_encode(mask_hw), *mask_hw.shape), mask_hw)


def test_run_lengths_are_those_of_coco() -> None:
    mask_hw = np.array([[0, 1, 1], [0, 0, 1]], bool)  # columns: 00 10 11
    assert rle_encode(mask_hw) == [2, 1, 1, 2]
    assert rle_encode(~mask_hw) == [0, 2, 1, 1, 2]
    assert rle_encode(np.zeros((2, 2), bool)) == [4]


@pytest.mark.parametrize("counts", [[], [3], [5], [2, -1, 3], [1, 1]])
def test_runs_that_do_not_fill_the_mask_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="runs of"):
        rle_decode(counts, 2, 2)


def test_the_box_of_paint_is_the_painted_box() -> None:
    boxes_n4 = np.array([[0, 0, 5, 4], [2, 1, 3, 2], [1, 0, 5, 1]], float)
    assert np.array_equal(boxes_from_masks(painted(boxes_n4, 4, 5)), boxes_n4)


def test_paint_covers_every_pixel_that_a_box_touches() -> None:
    (mask_hw,) = painted(np.array([[0.9, 1.0, 2.1, 2.0]]), 4, 5)
    assert boxes_from_masks(mask_hw[None]).tolist() == [[0, 1, 3, 2]]


def test_an_empty_mask_has_a_box_of_zeros() -> None:
    assert boxes_from_masks(np.zeros((1, 3, 3), bool)).tolist() == [[0, 0, 0, 0]]


def test_clipping_and_overhang_speak_of_the_same_border() -> None:
    boxes_n4 = np.array([[-2, 0, 5, 4], [0, 0, 8, 6], [3, 1, 9, 6.5]], float)
    assert clip(boxes_n4, 6, 8).tolist() == [[0, 0, 5, 4], [0, 0, 8, 6], [3, 1, 8, 6]]
    assert overhang(boxes_n4, 6, 8).tolist() == [2, 0, 1]
    assert overhang(np.zeros((0, 4)), 6, 8).tolist() == []


def test_areas_and_overlaps() -> None:
    a_n4 = np.array([[0, 0, 2, 2], [5, 5, 4, 9]], float)
    b_m4 = np.array([[1, 0, 3, 2], [0, 0, 2, 2], [7, 7, 8, 8]], float)
    assert areas(a_n4).tolist() == [4, 0]
    assert iou(a_n4, b_m4).tolist() == [[1 / 3, 1, 0], [0, 0, 0]]
