"""Gray of 16 bits: which part of its range an image uses, and how it is shown to people.

A detector of 12 bits in a file of 16 uses a sixteenth of the range; a single hot pixel must not
decide what is white. So white is the brightest but one in a thousand, and black the darkest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from schemas.sample import ByteArray, ImageArray

_WHITE_PERCENT = 99.9


@dataclass(frozen=True)
class Levels:
    """What is black and what is white in an image; `top` is its brightest pixel."""

    black: float = 0
    white: float = 255
    top: float = 255


EIGHT_BIT: Final = Levels()


def levels_of(image_hwc: ImageArray) -> Levels:
    """0 and 255 of an image of 8 bits; of deep gray what it holds."""
    if image_hwc.dtype == np.uint8:
        return EIGHT_BIT
    black, top = float(image_hwc.min()), float(image_hwc.max())
    white = float(np.percentile(image_hwc, _WHITE_PERCENT))
    return Levels(black, max(white, black + 1), top)


def shown(image_hwc: ImageArray, levels: Levels | None = None) -> ByteArray:
    """An image for the eye: of 8 bits as it is, deep gray stretched from black to white as RGB."""
    if image_hwc.dtype == np.uint8:
        return cast(ByteArray, image_hwc)
    levels = levels or levels_of(image_hwc)
    values = (image_hwc.astype(np.float32) - levels.black) / (levels.white - levels.black)
    gray_hw1 = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return np.repeat(gray_hw1, 3, axis=2)
