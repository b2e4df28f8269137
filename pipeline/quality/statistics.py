"""Statistics of pictures: how sharp, how structured, how visible a seam.

Luma is that of BT.601 in studio range (16 to 235), on which super-resolution is judged everywhere:
Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255. Its PSNR is relative to 255.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics import IDENTICAL_DB
from schemas.sample import BoolArray, ByteArray

Plane = NDArray[np.float64]

BINS = 32
"""Rings of a spectrum, from the lowest frequency to Nyquist."""


def luma(image_hwc: ByteArray) -> Plane:
    """Y, (h, w), 16 to 235."""
    weights = np.array([65.481, 128.553, 24.966]) / 255
    plane: Plane = 16 + image_hwc.astype(np.float64) @ weights
    return plane


def psnr_y(a_hwc: ByteArray, b_hwc: ByteArray, border: int) -> float:
    """PSNR of luma in dB, without `border` pixels at each side."""
    inner = (slice(border, a_hwc.shape[0] - border), slice(border, a_hwc.shape[1] - border))
    error = np.square(luma(a_hwc)[inner] - luma(b_hwc)[inner]).mean()
    return IDENTICAL_DB if error == 0 else min(IDENTICAL_DB, float(10 * np.log10(255**2 / error)))


def psnr_inside(a_hwc: ByteArray, b_hwc: ByteArray, mask_hw: BoolArray) -> float:
    """PSNR over all channels of the masked pixels, in dB."""
    difference = a_hwc[mask_hw].astype(np.float64) - b_hwc[mask_hw].astype(np.float64)
    error = np.square(difference).mean()
    return IDENTICAL_DB if error == 0 else min(IDENTICAL_DB, float(10 * np.log10(255**2 / error)))


def gradients(image_hwc: ByteArray) -> Plane:
    """Length of the gradient of luma at every pixel but the last row and column, gray levels."""
    y = luma(image_hwc)
    across, down = y[:-1, 1:] - y[:-1, :-1], y[1:, :-1] - y[:-1, :-1]
    return np.hypot(across, down)


def gradient_distance(a_hwc: ByteArray, b_hwc: ByteArray) -> float:
    """Wasserstein-1 distance between the distributions of gradient lengths, gray levels."""
    a, b = np.sort(gradients(a_hwc), axis=None), np.sort(gradients(b_hwc), axis=None)
    return float(np.abs(a - b).mean())


def spectrum(image_hwc: ByteArray) -> Plane:
    """Mean power of luma in `BINS` rings of frequency up to Nyquist, in dB; Hann window."""
    y = luma(image_hwc)
    height, width = y.shape
    window = np.hanning(height)[:, None] * np.hanning(width)[None, :]
    power = np.abs(np.fft.rfft2((y - y.mean()) * window)) ** 2 / (window**2).sum()
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    ring = np.minimum((np.hypot(fy, fx) / 0.5 * BINS).astype(int), BINS)
    total = np.bincount(ring.ravel(), power.ravel(), BINS + 1)[:BINS]
    count = np.bincount(ring.ravel(), minlength=BINS + 1)[:BINS]
    # 1e-3: below that, rounding to 8 bits (1/12) is far louder
    levels: Plane = 10 * np.log10(total / np.maximum(count, 1) + 1e-3)
    return levels


def spectrum_distance(a_hwc: ByteArray, b_hwc: ByteArray) -> float:
    """Mean difference of the spectra over rings, in dB."""
    return float(np.abs(spectrum(a_hwc) - spectrum(b_hwc)).mean())


def seam(image_hwc: ByteArray, mask_hw: BoolArray) -> float:
    """Mean step of luma between neighbours across the border of a mask, over that elsewhere."""
    y = luma(image_hwc)
    steps = np.concatenate([np.abs(np.diff(y, axis=axis)).ravel() for axis in (0, 1)])
    across = np.concatenate([np.diff(mask_hw.astype(np.int8), axis=a).ravel() for a in (0, 1)]) != 0
    if not across.any() or across.all():
        raise ValueError("a seam needs pixels on both of its sides")
    return float(steps[across].mean() / max(steps[~across].mean(), 1e-9))
