"""Shrinking and enlarging: Pillow's bicubic (a = -0.5, antialiased when shrinking), rounded to 8
bits, as tools do it.

This is the kernel that the upscalers are trained for, and the baseline that they are measured
against.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image

from schemas.sample import ByteArray

FACTORS: Final = (2, 4)


def enlarged(image_hwc: ByteArray, factor: int) -> ByteArray:
    """Bicubic, factor times as wide and high."""
    return resized(image_hwc, (image_hwc.shape[0] * factor, image_hwc.shape[1] * factor))


def resized(image_hwc: ByteArray, hw: tuple[int, int]) -> ByteArray:
    """Bicubic, to this size."""
    return np.asarray(Image.fromarray(image_hwc).resize((hw[1], hw[0]), Image.Resampling.BICUBIC))


def shrunk_and_enlarged(image_hwc: ByteArray, factor: int) -> ByteArray:
    """What is left of an image that was stored at 1/factor of its size; sides are rounded up when
    shrinking.
    """
    height, width = image_hwc.shape[:2]
    small = resized(image_hwc, (-(-height // factor), -(-width // factor)))
    return resized(small, (height, width))
