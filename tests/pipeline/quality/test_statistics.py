"""Statistics have known values on pictures that were made for them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.quality.patches import (
    LEVELS,
    distances,
    laplacian,
    places,
    pooled,
    scaled,
    sliced_wasserstein,
    taken,
)
from pipeline.quality.statistics import (
    BINS,
    gradient_distance,
    gradients,
    luma,
    psnr_inside,
    psnr_y,
    seam,
    spectrum,
    spectrum_distance,
)
from pipeline.quality.table import Value, at_least, at_most, mean_of, share_of
from schemas.sample import ByteArray


def noise(seed: int, side: int = 64, low: int = 0, high: int = 256) -> ByteArray:
    rng = np.random.default_rng(seed)
    return rng.integers(low, high, (side, side, 3), dtype=np.uint8)


def test_luma_of_white_and_black_is_studio_range() -> None:
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 1] = 255
    assert luma(image)[0].tolist() == pytest.approx([16, 235])


def test_psnr_of_a_known_error() -> None:
    a = np.full((20, 20, 3), 100, np.uint8)
    b = a.copy()
    b[0] = 255  # in the border, which does not count
    assert psnr_y(a, b, 2) == 100
    gray = a + 10  # luma differs by 10 * 219 / 255
    assert psnr_y(a, gray, 2) == pytest.approx(20 * np.log10(255 / (10 * 219 / 255)))
    mask = np.zeros((20, 20), bool)
    mask[5:9, 5:9] = True
    assert psnr_inside(a, b, mask) == 100
    assert psnr_inside(a, gray, mask) == pytest.approx(20 * np.log10(25.5))


def test_gradients_of_a_ramp_are_its_slope() -> None:
    ramp = np.repeat(np.arange(0, 100, 5, dtype=np.uint8)[None, :, None], 20, 0).repeat(3, 2)
    assert gradients(ramp) == pytest.approx(5 * 219 / 255)
    assert gradient_distance(ramp, ramp) == 0
    assert gradient_distance(ramp, ramp // 5 * 10) == pytest.approx(5 * 219 / 255)


def test_a_wave_is_heard_in_its_ring_of_the_spectrum() -> None:
    x = np.arange(128)
    wave = 128 + 100 * np.cos(2 * np.pi * x * 0.25)  # half of Nyquist
    image = np.repeat(np.rint(wave).astype(np.uint8)[None, :, None], 128, 0).repeat(3, 2)
    assert abs(int(spectrum(image).argmax()) - BINS // 2) <= 1
    assert spectrum_distance(image, image) == 0


def test_white_noise_has_a_flat_spectrum_and_blur_is_far_from_it() -> None:
    image = noise(0, 128)
    flat = spectrum(image)[4:]
    assert flat.max() - flat.min() < 3
    blurred = ((image[:-1].astype(int) + image[1:]) // 2).astype(np.uint8)
    assert spectrum_distance(blurred, image[:-1]) > 1


def test_a_seam_is_a_step_at_the_border_of_the_hole() -> None:
    image = noise(1, 64, 100, 120)
    mask = np.zeros((64, 64), bool)
    mask[20:40, 20:40] = True
    assert seam(image, mask) == pytest.approx(1, abs=0.2)
    stepped = image.copy()
    stepped[mask] += 40
    assert seam(stepped, mask) > 4
    with pytest.raises(ValueError, match="both"):
        seam(image, np.ones((64, 64), bool))


def test_a_pyramid_without_its_details_is_the_small_image() -> None:
    image = np.full((32, 32, 3), 77, np.uint8)
    levels = laplacian(image)
    assert [level.shape[0] for level in levels] == [32, 16, 8]
    assert np.abs(levels[0]).max() < 1e-3 and levels[-1] == pytest.approx(77)


def test_patches_lie_in_the_mask_entirely() -> None:
    mask = np.zeros((64, 64), bool)
    mask[10:50, 10:50] = True
    image = np.where(mask[:, :, None], 200, 0).astype(np.uint8).repeat(3, 2)
    at = places(mask, np.random.default_rng(0))
    assert [len(corners) > 0 for corners in at] == [True] * LEVELS
    last = taken(image, at)[-1]
    assert last.min() > 199  # of what is left after two levels, nothing mixes with the outside
    rows = at[0]
    assert rows.min() >= 10 and rows.max() + 7 <= 50


def test_the_distance_of_a_set_to_itself_is_zero_and_grows_with_what_is_wrong() -> None:
    mask = np.ones((64, 64), bool)
    at = places(mask, np.random.default_rng(0))
    real = taken(noise(2), at)
    assert distances(scaled(real, real), scaled(real, real)) == [0, 0, 0]
    again = taken(noise(3), at)
    flat = taken(np.full((64, 64, 3), 128, np.uint8), at)
    near, far = (distances(scaled(x, real), scaled(real, real))[0] for x in (again, flat))
    assert 0 < near < far / 5


def test_the_distance_of_two_points_in_one_dimension_is_their_gap() -> None:
    a = np.zeros((5, 1, 1, 1), np.float32)
    got = sliced_wasserstein(a + 2, a, np.random.default_rng(0))
    assert got == pytest.approx(2000)  # every direction is +1 or -1
    with pytest.raises(ValueError, match="as many"):
        sliced_wasserstein(a[:3], a, np.random.default_rng(0))


def test_a_dim_image_counts_as_much_as_a_bright_one() -> None:
    at = places(np.ones((64, 64), bool), np.random.default_rng(0))
    real = taken(noise(4), at)
    wrong = taken(np.full((64, 64, 3), 128, np.uint8), at)
    bright = distances(scaled(wrong, real), scaled(real, real))[0]
    dim_real, dim_wrong = ([x / 8 for x in patches] for patches in (real, wrong))
    assert distances(scaled(dim_wrong, dim_real), scaled(dim_real, dim_real))[0] == pytest.approx(
        bright, rel=1e-3
    )


def test_pooling_puts_images_together_level_by_level() -> None:
    at = places(np.ones((64, 64), bool), np.random.default_rng(0))
    one = taken(noise(5), at)
    assert [len(level) for level in pooled([one, one])] == [2 * len(level) for level in one]


def test_means_and_shares_have_errors() -> None:
    value = mean_of([1.0, 3.0])
    assert value == Value(mean=2.0, error=1.0, n=2) and str(value) == "2.00 ± 1.00"
    assert mean_of([]) is None and share_of(0, 0) is None
    none_of_ten = share_of(0, 10)
    assert none_of_ten is not None and none_of_ten.mean == 0
    assert none_of_ten.error is not None and none_of_ten.error > 0.05


def test_a_check_says_whether_its_target_is_met() -> None:
    assert at_least("a:", 2.0, 2.0).met and not at_least("a:", 1.9, 2.0).met
    assert at_most("a:", 2.0, 2.0).met and not at_most("a:", 2.1, 2.0).met
