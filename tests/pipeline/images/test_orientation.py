"""A painted object lies under its labels before an image is turned and after it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.geometry import boxes_from_masks
from pipeline.images.orientation import stored_size, upright, upright_instances
from schemas.sample import Instances

every_orientation = pytest.mark.parametrize("orientation", range(1, 9))


@every_orientation
def test_pixels_are_turned_as_every_viewer_turns_them(orientation: int) -> None:
    stored = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(upright(stored, orientation), expected)
    assert stored_size(expected.shape[:2], orientation) == (5, 7)


@given(st.integers(1, 8), st.integers(1, 9), st.integers(1, 9), st.data())
def test_boxes_and_masks_lie_over_what_they_lay_over(
    orientation: int, height: int, width: int, data: st.DataObject
) -> None:
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    mask_hw = np.zeros((height, width), bool)
    mask_hw[y0:y1, x0:x1] = True
    boxes_n4 = np.array([[x0, y0, x1, y1]], np.float64)
    seen_hw = upright(mask_hw, orientation)
    hw = seen_hw.shape[0], seen_hw.shape[1]
    turned = upright_instances(Instances(boxes_n4, ("a",), mask_hw[None]), hw, orientation)
    assert turned.masks_nhw is not None
    assert np.array_equal(turned.masks_nhw[0], seen_hw)
    assert turned.boxes_n4.tolist() == boxes_from_masks(turned.masks_nhw).tolist()


@every_orientation
def test_a_sample_without_objects_is_turned_too(orientation: int) -> None:
    empty = Instances(np.zeros((0, 4)), (), np.zeros((0, 5, 7), bool))
    hw = stored_size((5, 7), orientation)
    turned = upright_instances(empty, hw, orientation)
    assert turned.masks_nhw is not None
    assert turned.masks_nhw.shape == (0, *hw)
    assert turned.boxes_n4.shape == (0, 4)
