"""How far two images of one size are apart: PSNR and SSIM, in plain numpy.

`ssim` is that of Wang et al. 2004 (doi:10.1109/TIP.2003.819861): Gaussian window of 11 pixels and
sigma 1.5, K1 = 0.01, K2 = 0.03, only windows that lie inside the image, the mean over the
channels. Both are relative to the range of the type, 255 or 65535 of deep gray, and refuse images
of two sizes or types.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.sample import ImageArray

IDENTICAL_DB: Final = 100.0
"""Stands for the infinite PSNR of identical images: JSON and MLflow can carry it."""

_SIDE: Final = 11
_C1: Final = (0.01 * 255) ** 2  # below eq. 12
_C2: Final = (0.03 * 255) ** 2

Planes = NDArray[np.float32]


def _window() -> list[float]:
    taps = np.exp(-((np.arange(_SIDE) - _SIDE // 2) ** 2) / (2 * 1.5**2))
    return [float(tap) for tap in taps / taps.sum()]


_WINDOW: Final = _window()


def psnr(a_hwc: ImageArray, b_hwc: ImageArray) -> float:
    """Peak signal-to-noise ratio in dB, at most `IDENTICAL_DB`."""
    _same_size(a_hwc, b_hwc)
    wide = np.int32 if a_hwc.dtype == np.uint8 else np.int64  # squares of 16 bits need 33
    error = np.square(a_hwc.astype(wide) - b_hwc.astype(wide)).mean(dtype=np.float64)
    if error == 0:
        return IDENTICAL_DB
    return min(IDENTICAL_DB, float(10 * np.log10(float(np.iinfo(a_hwc.dtype).max) ** 2 / error)))


def ssim(a_hwc: ImageArray, b_hwc: ImageArray) -> float:
    """Structural similarity, 1 for identical images. Sides below 11 pixels are reflected."""
    _same_size(a_hwc, b_hwc)
    a, b = _planes(a_hwc), _planes(b_hwc)
    mean_a, mean_b = _blur(a), _blur(b)
    var_a = _blur(a * a) - mean_a * mean_a
    var_b = _blur(b * b) - mean_b * mean_b
    covariance = _blur(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)  # eq. 13
    below = (mean_a * mean_a + mean_b * mean_b + _C1) * (var_a + var_b + _C2)
    return float((above / below).mean(dtype=np.float64))


def _same_size(a_hwc: ImageArray, b_hwc: ImageArray) -> None:
    if (a_hwc.shape, a_hwc.dtype) != (b_hwc.shape, b_hwc.dtype):
        a, b = (f"{image.shape} {image.dtype}" for image in (a_hwc, b_hwc))
        raise ValueError(f"cannot compare an image of {a} with one of {b}")


def _planes(image_hwc: ImageArray) -> Planes:
    short = [max(0, _SIDE - side) for side in image_hwc.shape[:2]]
    padding = [(s // 2, s - s // 2) for s in short]
    planes = image_hwc.astype(np.float32)
    if image_hwc.dtype != np.uint8:
        planes *= np.float32(255 / np.iinfo(image_hwc.dtype).max)
    return np.pad(planes, [*padding, (0, 0)], mode="symmetric")


def _blur(planes_hwc: Planes) -> Planes:
    """The Gaussian mean of every window that lies inside, one axis after the other."""
    rows, columns = (side - _SIDE + 1 for side in planes_hwc.shape[:2])
    down = _WINDOW[0] * planes_hwc[:rows]
    for k in range(1, _SIDE):
        down += _WINDOW[k] * planes_hwc[k : k + rows]
    out = _WINDOW[0] * down[:, :columns]
    for k in range(1, _SIDE):
        out += _WINDOW[k] * down[:, k : k + columns]
    return out
