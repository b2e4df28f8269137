"""Between 8-bit pixels and what a network sees: a transfer curve, then zero mean and unit deviation
per image.

Per image, because a dim image must keep its contrast against the noise: with one scale for all,
noise of strength 0.2 buries a nucleus of 10 gray levels. `sqrt` evens out the noise of
photon-limited images (Anscombe 1948).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from schemas.sample import ByteArray

Curve = Literal["linear", "sqrt"]
FloatImage = NDArray[np.float32]

MIN_DEVIATION = 0.01
"""Of an image without contrast, on a scale of 0 to 1: about 2.5 gray levels."""


@dataclass(frozen=True)
class Tone:
    """The map of one image; `mean` and `deviation` are taken after the curve, over all its pixels
    and channels.

    `gray`: the three channels are the same everywhere, and stay so.
    """

    curve: Curve
    mean: float
    deviation: float
    gray: bool = False

    @staticmethod
    def of(image_hwc: ByteArray, curve: Curve) -> Tone:
        """The tone of this image."""
        values = _bend(image_hwc, curve)
        gray = bool((image_hwc == image_hwc[:, :, :1]).all())
        return Tone(curve, float(values.mean()), max(float(values.std()), MIN_DEVIATION), gray)

    def encode(self, image_hwc: ByteArray) -> FloatImage:
        """8-bit pixels to what the network sees."""
        return (_bend(image_hwc, self.curve) - np.float32(self.mean)) / np.float32(self.deviation)

    def decode(self, values_hwc: FloatImage) -> ByteArray:
        """What the network made to 8-bit pixels, rounded and clipped."""
        if self.gray:
            values_hwc = np.broadcast_to(values_hwc.mean(axis=2, keepdims=True), values_hwc.shape)
        values = np.clip(values_hwc * np.float32(self.deviation) + np.float32(self.mean), 0, 1)
        if self.curve == "sqrt":
            values = values**2
        pixels: ByteArray = np.rint(values * 255).astype(np.uint8)
        return pixels


def _bend(image_hwc: ByteArray, curve: Curve) -> FloatImage:
    values = image_hwc.astype(np.float32) / np.float32(255)
    return np.sqrt(values) if curve == "sqrt" else values
