"""PSNR and SSIM, held against their definitions and an independent implementation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from pipeline.metrics import IDENTICAL_DB, psnr, ssim
from schemas.sample import ByteArray


def noisy_pair(height: int = 40, width: int = 50, sigma: float = 30) -> tuple[ByteArray, ByteArray]:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    noise = rng.normal(0, sigma, image.shape)
    return image, np.clip(image + noise, 0, 255).astype(np.uint8)


def test_identical_images_have_the_highest_scores() -> None:
    image, _ = noisy_pair()
    assert psnr(image, image) == IDENTICAL_DB
    assert ssim(image, image) == pytest.approx(1)


def test_psnr_of_a_constant_difference_is_its_definition() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    assert psnr(black, black + np.uint8(255)) == pytest.approx(0)
    assert psnr(black, black + np.uint8(16)) == pytest.approx(20 * np.log10(255 / 16))


def test_ssim_is_that_of_torchmetrics() -> None:
    image, noisy = noisy_pair()
    a, b = (torch.from_numpy(x).permute(2, 0, 1)[None].double() for x in (image, noisy))
    theirs = structural_similarity_index_measure(a, b, data_range=255.0)
    assert ssim(image, noisy) == pytest.approx(float(theirs), abs=5e-4)


def test_both_fall_as_noise_grows() -> None:
    weak, strong = noisy_pair(sigma=10), noisy_pair(sigma=60)
    assert psnr(*weak) > psnr(*strong)
    assert ssim(*weak) > ssim(*strong)


def test_deep_gray_has_the_scores_of_the_same_picture_of_8_bits() -> None:
    image, noisy = (x[:, :, :1] for x in noisy_pair())
    wide, wide_noisy = (x.astype(np.uint16) * 257 for x in (image, noisy))
    assert psnr(wide, wide_noisy) == pytest.approx(psnr(image, noisy))
    assert ssim(wide, wide_noisy) == pytest.approx(ssim(image, noisy), abs=1e-5)
    black = np.zeros((8, 8, 1), np.uint16)
    assert psnr(black, black + np.uint16(65535)) == pytest.approx(0)
    with pytest.raises(ValueError, match="uint16"):
        psnr(image, wide)


@pytest.mark.parametrize("hw", [(1, 1), (3, 40), (11, 11)])
def test_images_smaller_than_the_window_have_scores(hw: tuple[int, int]) -> None:
    image, noisy = noisy_pair(*hw)
    assert ssim(image, image) == pytest.approx(1)
    assert -1 <= ssim(image, noisy) <= 1


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_images_of_two_sizes_are_refused(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(ValueError, match="cannot compare"):
        measure(np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4, 3), np.uint8))
