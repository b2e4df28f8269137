"""Masks as runs: held against COCO's own tools and against painted pixels."""

from __future__ import annotations

import numpy as np
import pytest
from faster_coco_eval.core import mask as api
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.importing.drawing import box_of, canonical, decompress, draw
from pipeline.importing.records import Patch, Polygons, Rle
from pipeline.labels.geometry import boxes_from_masks, rle_decode, rle_encode
from schemas.errors import SampleError
from schemas.sample import BoolArray
from tests.pipeline.importing.exports import flat, outline

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 24), st.integers(1, 24)))


@given(MASKS)
def test_compressed_runs_are_read_as_cocos_tools_wrote_them(mask_hw: BoolArray) -> None:
    packed = api.encode(np.asfortranarray(mask_hw.astype(np.uint8)))
    counts = canonical(decompress(packed["counts"].decode()))
    assert list(counts) == rle_encode(mask_hw)


@given(st.text(max_size=40))
def test_any_text_is_runs_or_a_reason(text: str) -> None:
    try:
        runs, _ = draw(Rle((7, 9), text), (7, 9), "here")
    except SampleError as error:
        assert error.slug in ("bad_rle", "mask_empty")
    else:
        assert sum(runs) == 63


@given(st.lists(st.integers(-3, 30), max_size=9))
def test_any_numbers_are_runs_or_a_reason(counts: list[int]) -> None:
    try:
        runs, _ = draw(Rle((5, 6), tuple(counts)), (5, 6), "here")
    except SampleError as error:
        assert error.slug in ("bad_rle", "mask_empty")
    else:
        assert np.array_equal(rle_decode(runs, 5, 6), rle_decode(counts, 5, 6))
        assert list(runs) == rle_encode(rle_decode(counts, 5, 6))


@given(MASKS.filter(lambda mask_hw: bool(mask_hw.any())))
def test_the_box_of_runs_is_the_box_of_the_pixels(mask_hw: BoolArray) -> None:
    tight = boxes_from_masks(mask_hw[None])[0]
    assert box_of(rle_encode(mask_hw), mask_hw.shape[0]) == tuple(tight)


@given(st.integers(-9, 30), st.integers(-9, 30), st.integers(1, 20), st.integers(1, 20))
def test_an_outline_along_pixels_fills_those_pixels(x: int, y: int, w: int, h: int) -> None:
    hw = (19, 23)
    painted_hw = np.zeros(hw, np.bool_)
    painted_hw[max(0, y) : max(0, y + h), max(0, x) : max(0, x + w)] = True
    part = (x, y, x + w, y, x + w, y + h, x, y + h)
    mask = Polygons((tuple(map(float, part)),))
    if not painted_hw.any():
        with pytest.raises(SampleError, match="mask_empty"):
            draw(mask, hw, "here")
        return
    runs, found = draw(mask, hw, "here")
    assert list(runs) == rle_encode(painted_hw)
    leaves = x < 0 or y < 0 or x + w > hw[1] or y + h > hw[0]
    assert [finding.slug for finding in found] == ["polygon_clipped"] * leaves


def test_several_outlines_are_one_mask() -> None:
    hw = (10, 12)
    one_hw, two_hw = np.zeros((2, *hw), np.bool_)
    one_hw[1:5, 1:6] = True
    two_hw[3:9, 4:10] = True
    parts = [tuple(map(float, flat(outline(mask_hw)))) for mask_hw in (one_hw, two_hw)]
    runs, _ = draw(Polygons(tuple(parts)), hw, "here")
    assert list(runs) == rle_encode(one_hw | two_hw)


@given(st.integers(-5, 12), st.integers(-5, 12))
def test_a_patch_lies_where_it_is_put(x: int, y: int) -> None:
    small_hw = np.eye(4, 3, dtype=np.bool_)
    whole_hw = np.zeros((24, 24), np.bool_)
    whole_hw[y + 5 : y + 9, x + 5 : x + 8] = small_hw
    inside_hw = whole_hw[5:15, 5:16]
    patch = Patch(x, y, (4, 3), tuple(rle_encode(small_hw)))
    if not inside_hw.any():
        with pytest.raises(SampleError, match="mask_empty"):
            draw(patch, (10, 11), "here")
        return
    runs, found = draw(patch, (10, 11), "here")
    assert list(runs) == rle_encode(inside_hw)
    assert bool(found) == (inside_hw.sum() < 3)
