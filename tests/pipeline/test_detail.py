"""The strength that an image's own detail allows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline import detail
from pipeline.detail import BOUNDS, SHIFT, fitting_strength
from schemas.sample import ByteArray


def blobs(deviation: float, hw: tuple[int, int] = (96, 128)) -> ByteArray:
    """Smooth structure of one size, 8 bits."""
    noise = np.random.default_rng(1).normal(size=hw)
    smooth = cv2.GaussianBlur(noise, (0, 0), deviation)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return np.repeat(np.rint(smooth * 200)[:, :, None], 3, axis=2).astype(np.uint8)


def test_the_finer_the_structure_the_less_noise() -> None:
    strengths = [fitting_strength(blobs(size)) for size in (1.5, 3, 6)]
    assert strengths == sorted(strengths)
    assert strengths[-1] - strengths[0] > 0.3


def test_brightness_and_contrast_cancel_out() -> None:
    image = blobs(4)
    dim = (image // 3 + 40).astype(np.uint8)
    assert fitting_strength(dim) == pytest.approx(fitting_strength(image), abs=0.03)


def test_grain_is_the_finest_structure() -> None:
    image = blobs(6)
    grain = np.random.default_rng(2).normal(0, 25, image.shape)
    grainy = np.clip(image + grain, 0, 255).astype(np.uint8)
    assert fitting_strength(grainy) < fitting_strength(image) - 0.1


def test_white_noise_is_readable_up_to_the_ratio_that_the_formula_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(detail, "READABLE", 0.2)  # C / (C + ρ²) = 1/5 with C = 1: ρ = 2
    white = np.random.default_rng(3).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    assert fitting_strength(white) == pytest.approx(2 / np.pi * np.arctan(2 / SHIFT), abs=0.01)


@pytest.mark.parametrize("hw", [(1, 1), (1, 40), (2, 2), (33, 47)])
def test_any_size_gives_a_strength_within_the_bounds(hw: tuple[int, int]) -> None:
    image = np.random.default_rng(4).integers(0, 256, (*hw, 3), dtype=np.uint8)
    assert BOUNDS[0] <= fitting_strength(image) <= BOUNDS[1]
    assert fitting_strength(np.full_like(image, 7)) == BOUNDS[0]


def test_gray_of_16_bits_bears_what_the_same_picture_of_8_bits_bears() -> None:
    image = blobs(4)
    deep = image[:, :, :1].astype(np.uint16) * 257
    assert fitting_strength(deep) == pytest.approx(fitting_strength(image), abs=1e-3)
