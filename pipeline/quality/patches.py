"""Sliced Wasserstein distance between patches (Karras et al. 2018, section 5), inside a mask.

Patches of 7x7 pixels and three channels are taken from every level of a Laplacian pyramid, where
they lie in the mask entirely, at the same places in the picture that is judged and in the real one.
Level 0 holds the texture of single pixels, each further level that of twice the size. Patches of an
image are scaled by mean and deviation of its real ones, per level and channel, so that a washed-out
patch is far from them and a dim image counts as much as a bright one; then all images are pooled.
The distance is the mean of Wasserstein-1 over 256 random directions, times 1000; 0 for the same
set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from schemas.sample import BoolArray, ByteArray

SIDE: Final = 7
LEVELS: Final = 3
DIRECTIONS: Final = 256
PER_IMAGE: Final = 192
"""Patches of one image and level."""

Floats = NDArray[np.float32]
Places = list[NDArray[np.intp]]
"""Per level, the top left corners of patches, (n, 2)."""


def laplacian(image_hwc: ByteArray, levels: int = LEVELS) -> list[Floats]:
    """Each level holds what the next coarser one does not; the last one what is left."""
    now = image_hwc.astype(np.float32)
    out: list[Floats] = []
    for _ in range(levels - 1):
        small = np.asarray(cv2.pyrDown(now), np.float32)
        again = cv2.pyrUp(small, dstsize=(now.shape[1], now.shape[0]))
        out.append(np.asarray(now - again, np.float32))
        now = small
    return [*out, now]


def places(mask_hw: BoolArray, rng: Generator, levels: int = LEVELS) -> Places:
    """Where patches lie in the mask entirely, at most `PER_IMAGE` of each level."""
    found: Places = []
    mask: ByteArray = mask_hw.astype(np.uint8)
    for _ in range(levels):
        whole = cv2.erode(mask, np.ones((SIDE, SIDE), np.uint8), borderValue=0)
        corners = np.argwhere(whole > 0) - SIDE // 2
        picked = rng.permutation(len(corners))[:PER_IMAGE]
        found.append(corners[np.sort(picked)])
        # a pixel of the next level sees 5x5 of this one
        fewer = cv2.erode(mask, np.ones((5, 5), np.uint8), borderValue=1)
        mask = np.asarray(fewer, np.uint8)[::2, ::2]
    return found


def taken(image_hwc: ByteArray, at: Places) -> list[Floats]:
    """The patches of an image at these places: per level (n, 7, 7, 3)."""
    out: list[Floats] = []
    for plane, corners in zip(laplacian(image_hwc, len(at)), at, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(plane, (SIDE, SIDE), axis=(0, 1))
        patches = windows[corners[:, 0], corners[:, 1]].transpose(0, 2, 3, 1)
        out.append(np.ascontiguousarray(patches, np.float32))
    return out


def scaled(patches: Sequence[Floats], real: Sequence[Floats]) -> list[Floats]:
    """Level by level, so that the real ones have mean 0 and deviation 1 in every channel.

    The deviation is 0.5 gray levels at least: of less, rounding to 8 bits is the larger part.
    """
    return [
        (x - r.mean((0, 1, 2))) / np.maximum(r.std((0, 1, 2)), 0.5) if len(r) else x
        for x, r in zip(patches, real, strict=True)
    ]


def pooled(images: Sequence[Sequence[Floats]]) -> list[Floats]:
    """The patches of many images, level by level."""
    return [np.concatenate(level) for level in zip(*images, strict=True)]


def distances(made: Sequence[Floats], real: Sequence[Floats], seed: int = 0) -> list[float]:
    """Per level; NaN where no patch fits into any hole."""
    return [
        sliced_wasserstein(a, b, np.random.default_rng([seed, i])) if len(b) else float("nan")
        for i, (a, b) in enumerate(zip(made, real, strict=True))
    ]


def sliced_wasserstein(made: Floats, real: Floats, rng: Generator) -> float:
    """Of two sets of the same number of patches, (n, 7, 7, 3), times 1000."""
    if made.shape != real.shape:
        raise ValueError(f"as many patches of the same shape: {made.shape} and {real.shape}")
    directions = rng.standard_normal((real[0].size, DIRECTIONS)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    a, b = (np.sort(x.reshape(len(x), -1) @ directions, axis=0) for x in (made, real))
    return float(np.abs(a - b).mean() * 1000)
