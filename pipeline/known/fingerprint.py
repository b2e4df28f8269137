"""What an image looks like, in a few numbers: whether two show the same picture.

A `Look` is a perceptual hash (64 bits of a DCT), which finds candidates among many, and a gray of
64x64, zero mean and unit length: the product of two is their correlation, which decides. The hash
alone would call all dark images alike. Correlation does not change with brightness or contrast, and
little where an image was recompressed, resized or blurred a bit. Mirrored and turned by quarter
turns are eight looks (`looks`).

An image that is as good as uniform looks like nothing: its gray is zero, and so are its
correlations. A crop of an image, or another shot of the same field, is not found by this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.sample import ImageArray

Floats = NDArray[np.float32]

SIDE: Final = 64
WAYS: Final = 8
"""To mirror and turn a picture by quarter turns."""

MAX_BITS: Final = 14
"""Of 64: what is further apart is no candidate. Chance pairs are 32 apart."""

FLAT: Final = 0.5
"""Deviation of the small gray, in steps of the image's type: what is below is rounding."""


@dataclass(frozen=True, eq=False)
class Look:
    """One image, upright or not."""

    hash: np.uint64
    gray: Floats  # (SIDE²,), zero mean and unit length; all zero where the image is uniform

    @property
    def flat(self) -> bool:
        """Whether there is nothing to compare."""
        return not self.gray.any()


def small_gray(image_hwc: ImageArray) -> Floats:
    """The mean of the channels, (SIDE, SIDE), in the steps of the image's type."""
    gray = image_hwc.astype(np.float32).mean(axis=2)
    return np.asarray(cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.float32)


def look_at(gray_hw: Floats) -> Look:
    """Of a small gray."""
    low = cv2.dct(cv2.resize(gray_hw, (32, 32), interpolation=cv2.INTER_AREA))[:8, :8].ravel()
    bits = low > np.median(low)
    value = np.uint64(int.from_bytes(np.packbits(bits).tobytes(), "big"))
    flat = (gray_hw - gray_hw.mean()).ravel()
    length = float(np.linalg.norm(flat))
    return Look(value, flat / length if length > FLAT * SIDE else flat * 0)


def turned(plane_hw: Floats, way: int) -> Floats:
    """A plane mirrored and turned by quarter turns, in one of eight ways; 0 leaves it as it is."""
    side = plane_hw if way < 4 else plane_hw[:, ::-1]
    return np.ascontiguousarray(np.rot90(side, way % 4))


def looks(gray_hw: Floats) -> list[Look]:
    """Of a small gray, all eight ways; the first as it is."""
    return [look_at(turned(gray_hw, way)) for way in range(WAYS)]


def candidates(hashes_n: NDArray[np.uint64], eight: list[Look]) -> NDArray[np.intp]:
    """Which of many images may be this one, one way or another."""
    near = np.zeros(len(hashes_n), np.bool_)
    for look in eight:
        near |= np.bitwise_count(hashes_n ^ look.hash) <= MAX_BITS
    return np.flatnonzero(near)
