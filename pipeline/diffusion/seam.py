"""A filled hole without a seam: its border's step is taken away, and the correction spread inward.

A diffusion model decides on coarse colours early, where noise hides the border, and holds on to
them. What is left is a smooth offset. It is measured along the border, as the difference of the
means on both sides, and carried into the hole as smoothly as possible (a membrane, as in Poisson
image editing, Perez et al. 2003; by pull and push over a pyramid, Gortler et al. 1996, so that it
costs a few resizes).

Measured on bccd (6 val images, holes over 25 %): the step across the border, relative to the real
image's, 2.4 without, 1.1 with; PSNR rises by 0.3 dB.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from pipeline.diffusion.tone import FloatImage
from schemas.sample import BoolArray

RING: Final = 2
SIGMA: Final = 1.0
"""Pixels on each side of the border, and along it, that a mean is taken over."""


def joined(made_hwc: FloatImage, picture_hwc: FloatImage, hole_hw: BoolArray) -> FloatImage:
    """`made` inside the hole, lifted and lowered so that it meets the `picture` at the border."""
    square = np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)
    hole = hole_hw.astype(np.uint8)
    outside = (cv2.dilate(hole, square) > 0) & ~hole_hw
    inside = hole_hw & (cv2.dilate(1 - hole, square) > 0)
    if not outside.any():
        return made_hwc
    beyond, far = _mean_of(picture_hwc, outside)
    within, near = _mean_of(made_hwc, inside)
    known = inside & (far > _FAINT) & (near > _FAINT)
    step = np.where(known[:, :, None], beyond - within, np.float32(0))
    lift = _spread(step, known.astype(np.float32))
    return made_hwc + lift * hole_hw[:, :, None]


_FAINT: Final = 1e-3


def _mean_of(image_hwc: FloatImage, where_hw: BoolArray) -> tuple[FloatImage, FloatImage]:
    """(local mean over these pixels only, how much of them is near)."""
    weight = where_hw.astype(np.float32)
    near = cv2.GaussianBlur(weight, (0, 0), SIGMA)
    total = cv2.GaussianBlur(image_hwc * weight[:, :, None], (0, 0), SIGMA)
    mean = total / np.maximum(near, 1e-6)[:, :, None]
    return mean.astype(np.float32), near.astype(np.float32)


def _spread(values_hwc: FloatImage, weight_hw: FloatImage) -> FloatImage:
    """Values where the weight is 1, and smoothly in between where it is 0."""
    height, width = weight_hw.shape
    whole = float(weight_hw.sum())
    if height * width <= 4 or whole == 0:
        mean = (values_hwc * weight_hw[:, :, None]).sum(axis=(0, 1)) / max(whole, 1e-6)
        return np.broadcast_to(mean.astype(np.float32), values_hwc.shape)
    half = ((width + 1) // 2, (height + 1) // 2)
    weights = cv2.resize(weight_hw, half, interpolation=cv2.INTER_AREA)
    sums = cv2.resize(values_hwc * weight_hw[:, :, None], half, interpolation=cv2.INTER_AREA)
    means = sums / np.maximum(weights, 1e-6)[:, :, None]
    coarse = _spread(means.astype(np.float32), np.minimum(2 * weights, 1).astype(np.float32))
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    blend = weight_hw[:, :, None]
    return values_hwc * blend + smooth.reshape(values_hwc.shape) * (1 - blend)
