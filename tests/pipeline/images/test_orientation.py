"""A painted object lies under its labels before an image is turned and after it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.images.orientation import stored_size, upright, upright_boxes
from pipeline.labels.geometry import boxes_from_masks

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
    turned = upright_boxes(boxes_n4, hw, orientation)
    assert turned.tolist() == boxes_from_masks(seen_hw[None]).tolist()


@every_orientation
def test_no_boxes_are_turned_too(orientation: int) -> None:
    assert upright_boxes(np.zeros((0, 4)), (5, 7), orientation).shape == (0, 4)
