"""Deep gray for the eye: stretched over what the image uses, on the same levels where asked."""

from __future__ import annotations

import numpy as np

from pipeline.images.depth import EIGHT_BIT, Levels, levels_of, shown
from pipeline.pictures.overlay import scaled
from tests.pipeline.shards import painted

RAMP = np.arange(1000, 3000, dtype=np.uint16).reshape(40, 50, 1)


def test_an_image_of_8_bits_is_shown_as_it_is() -> None:
    image = painted(6, 8, [])
    assert shown(image) is image
    assert levels_of(image) == EIGHT_BIT


def test_a_ramp_is_shown_from_black_to_white_without_a_step_back() -> None:
    gray = shown(RAMP)
    assert (gray.shape, gray.dtype) == ((40, 50, 3), np.uint8)
    assert (int(gray.min()), int(gray.max())) == (0, 255)
    assert (np.diff(gray[:, :, 0].ravel().astype(int)) >= 0).all()


def test_one_hot_pixel_does_not_make_the_others_black() -> None:
    hot = RAMP.copy()
    hot[3, 4] = 65535
    assert np.abs(shown(hot).astype(int) - shown(RAMP))[10:].max() <= 1
    assert levels_of(hot).top == 65535


def test_two_images_are_compared_on_the_levels_of_one() -> None:
    darker = RAMP - np.uint16(500)
    levels = levels_of(RAMP)
    assert shown(darker, levels).mean() < shown(RAMP, levels).mean() - 40
    assert np.array_equal(shown(darker), shown(RAMP))


def test_an_image_of_one_level_has_levels_and_is_black() -> None:
    flat = np.full((4, 4, 1), 7, np.uint16)
    assert levels_of(flat) == Levels(7, 8, 7)
    assert not shown(flat).any()


def test_a_tile_of_deep_gray_can_be_drawn_at_any_scale() -> None:
    assert scaled(RAMP, 3).size == (150, 120)
    assert scaled(RAMP, 0.5).mode == "RGB"
