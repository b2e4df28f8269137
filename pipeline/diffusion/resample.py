"""Shrinking and enlarging: Pillow's bicubic (a = -0.5, antialiased when shrinking), rounded to 8
bits, as tools do it.

This is the kernel that the upscalers are trained for, and the baseline that they are measured
against.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image

from pipeline.diffusion.tone import FloatImage
from schemas.sample import ImageArray

FACTORS: Final = (2, 4)


def enlarged(image_hwc: ImageArray, factor: int) -> ImageArray:
    """Bicubic, factor times as wide and high."""
    return resized(image_hwc, (image_hwc.shape[0] * factor, image_hwc.shape[1] * factor))


def resized(image_hwc: ImageArray, hw: tuple[int, int]) -> ImageArray:
    """Bicubic, to this size; deep gray by way of floats, which Pillow does not round to 8 bits."""
    if image_hwc.dtype == np.uint16:
        values = resized_values(image_hwc.astype(np.float32), hw)
        return np.asarray(np.rint(np.clip(values, 0, 65535)), np.uint16)
    return np.asarray(Image.fromarray(image_hwc).resize((hw[1], hw[0]), Image.Resampling.BICUBIC))


def resized_values(values_hwc: FloatImage, hw: tuple[int, int]) -> FloatImage:
    """Bicubic like `resized`, channel by channel, without its rounding to 8 bits."""
    channels = [
        Image.fromarray(np.ascontiguousarray(values_hwc[:, :, c])).resize(
            (hw[1], hw[0]), Image.Resampling.BICUBIC
        )
        for c in range(values_hwc.shape[2])
    ]
    return np.stack([np.asarray(channel, np.float32) for channel in channels], axis=2)
