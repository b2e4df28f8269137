"""The tone of an image: there and back, in 8 bits and in 16."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.diffusion.tone import Curve, Tone
from schemas.sample import DeepArray

curves = pytest.mark.parametrize("curve", get_args(Curve))


def deep(black: int, white: int, seed: int = 1) -> DeepArray:
    rng = np.random.default_rng(seed)
    return rng.integers(black, white + 1, (12, 17, 1)).astype(np.uint16)


@curves
@given(st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 9))
def test_deep_gray_comes_back_to_the_level(curve: Curve, a: int, b: int, seed: int) -> None:
    image = deep(min(a, b), max(a, b), seed)
    tone = Tone.of(image, curve)
    values = tone.encode(image)
    assert (values.shape, values.dtype) == ((12, 17, 3), np.float32)
    made = tone.decode(values)
    assert (made.shape, made.dtype) == (image.shape, np.uint16)
    assert np.abs(made.astype(int) - image).max() <= 1


@curves
def test_a_network_sees_deep_gray_like_the_same_picture_of_8_bits(curve: Curve) -> None:
    eight = np.random.default_rng(2).integers(0, 256, (30, 40, 1)).astype(np.uint8)
    eight.flat[:2] = 0, 255
    eight.flat[2:60] = 255  # so that white is white, not the last but one in a thousand
    rgb = np.repeat(eight, 3, axis=2)
    wide = eight.astype(np.uint16) * 16 + 300  # 12 bits above a pedestal
    seen, expected = (Tone.of(image, curve).encode(image) for image in (wide, rgb))
    assert np.abs(seen - expected).max() < 1e-4


@curves
def test_what_a_network_makes_stays_within_the_range_of_the_image(curve: Curve) -> None:
    for image in (deep(1000, 3000), deep(0, 65535), deep(65535, 65535)):
        tone = Tone.of(image, curve)
        wild = np.random.default_rng(3).normal(0, 50, (12, 17, 3)).astype(np.float32)
        made = tone.decode(wild)
        assert made.min() >= image.min()
        assert made.max() == image.max()


def test_the_three_channels_of_deep_gray_are_averaged() -> None:
    image = deep(0, 60000)
    tone = Tone.of(image, "linear")
    values = tone.encode(image)
    values[..., 0] += 0.1
    values[..., 1] -= 0.1
    assert np.abs(tone.decode(values).astype(int) - image).max() <= 1
