"""Grain of the wanted spectrum where it is missing, and holes without a step at their border."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.diffusion.grain import grained
from pipeline.diffusion.seam import joined
from pipeline.diffusion.tone import FloatImage

ALL = np.ones((96, 128), bool)
LEFT = ALL & (np.arange(128) < 64)


def noise(deviation: float, seed: int = 0, smooth: float = 0) -> FloatImage:
    made = np.random.default_rng(seed).standard_normal((96, 128, 3))
    made = cv2.GaussianBlur(made, (0, 0), smooth) if smooth else made
    return (made * deviation / made.std()).astype(np.float32)


@pytest.mark.parametrize("smooth", [0, 0.8])
def test_what_is_missing_comes_with_its_strength_and_its_spectrum(smooth: float) -> None:
    picture = noise(0.1, smooth=smooth)
    made = grained(np.zeros_like(picture), picture, ALL, ALL, 5)
    assert made.std() == pytest.approx(0.1, rel=0.15)
    steps = [np.diff(image, axis=1).std() for image in (made, picture)]
    assert steps[0] == pytest.approx(steps[1], rel=0.15)


def test_nothing_is_added_to_what_has_its_grain() -> None:
    made = grained(noise(0.1, 1), noise(0.1, 2), ALL, ALL, 5)
    assert np.std(made - noise(0.1, 1)) < 0.03


def test_only_the_wanted_pixels_change_and_the_seed_decides() -> None:
    empty, picture = np.zeros((96, 128, 3), np.float32), noise(0.1)
    made = grained(empty, picture, LEFT, ~LEFT, 5)
    assert not made[~LEFT].any()
    assert made[LEFT].any()
    assert (made == grained(empty, picture, LEFT, ~LEFT, 5)).all()
    assert (made != grained(empty, picture, LEFT, ~LEFT, 6)).any()


def test_gray_stays_gray() -> None:
    picture = np.repeat(noise(0.1)[:, :, :1], 3, axis=2)
    made = grained(np.zeros_like(picture), picture, ALL, ALL, 5)
    assert made.std() > 0.05
    assert np.ptp(made, axis=2).max() < 1e-5


def test_an_image_too_small_to_tell_is_left_alone() -> None:
    small = noise(0.1)[:7, :7]
    empty, all_ = np.zeros_like(small), np.ones((7, 7), bool)
    assert not grained(empty, small, all_, all_, 5).any()


def test_an_offset_in_a_hole_is_lifted_away() -> None:
    picture = np.broadcast_to(np.linspace(0, 1, 128, dtype=np.float32)[:, None], (96, 128, 3))
    hole = np.zeros((96, 128), bool)
    hole[30:60, 40:90] = True
    made = np.where(hole[:, :, None], picture + np.float32(0.5), picture)
    fixed = joined(made, picture, hole)
    assert np.abs(fixed - picture).max() < 0.06
    assert (fixed[~hole] == picture[~hole]).all()


def test_texture_inside_a_hole_survives_the_lift() -> None:
    picture, hole = np.zeros((96, 128, 3), np.float32), np.zeros((96, 128), bool)
    hole[20:70, 20:110] = True
    texture = noise(0.2) * hole[:, :, None]
    fixed = joined(texture, picture, hole)
    inner = (slice(30, 60), slice(30, 100))
    assert np.corrcoef(fixed[inner].ravel(), texture[inner].ravel())[0, 1] > 0.95


def test_a_hole_over_the_whole_image_has_no_border() -> None:
    made = noise(0.2)
    assert (joined(made, np.zeros_like(made), ALL) == made).all()
