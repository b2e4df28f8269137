"""Between pixels and what a network sees: a transfer curve, then zero mean and unit deviation per
image.

Per image, because a dim image must keep its contrast against the noise: with one scale for all,
noise of strength 0.2 buries a nucleus of 10 gray levels. `sqrt` evens out the noise of
photon-limited images (Anscombe 1948).

Deep gray of 16 bits goes to the network on three equal channels, on the scale of the levels that
the image itself uses, and comes back as their mean: rounded to 16 bits, and never beyond the
darkest and the brightest pixel that were there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.images.depth import EIGHT_BIT, Levels, levels_of
from schemas.sample import ImageArray

Curve = Literal["linear", "sqrt"]
FloatImage = NDArray[np.float32]

MIN_DEVIATION = 0.01
"""Of an image without contrast, on a scale of 0 to 1: about 2.5 gray levels."""


@dataclass(frozen=True)
class Tone:
    """The map of one image; `mean` and `deviation` are taken after the curve, over all its pixels
    and channels.

    `gray`: the three channels are the same everywhere, and stay so. `deep`: one channel of 16 bits,
    on the scale of `levels`.
    """

    curve: Curve
    mean: float
    deviation: float
    gray: bool = False
    deep: bool = False
    levels: Levels = EIGHT_BIT

    @staticmethod
    def of(image_hwc: ImageArray, curve: Curve) -> Tone:
        """The tone of this image."""
        levels = levels_of(image_hwc)
        values = _bend(image_hwc, curve, levels)
        gray = bool((image_hwc == image_hwc[:, :, :1]).all())
        deviation = max(float(values.std()), MIN_DEVIATION)
        deep = image_hwc.dtype == np.uint16
        return Tone(curve, float(values.mean()), deviation, gray, deep, levels)

    def encode(self, image_hwc: ImageArray) -> FloatImage:
        """Pixels to what the network sees, (h, w, 3)."""
        values = _bend(image_hwc, self.curve, self.levels)
        encoded = (values - np.float32(self.mean)) / np.float32(self.deviation)
        return np.repeat(encoded, 3, axis=2) if self.deep else encoded

    def decode(self, values_hwc: FloatImage) -> ImageArray:
        """What the network made to pixels, rounded and clipped."""
        if self.deep:
            values_hwc = values_hwc.mean(axis=2, keepdims=True)
        elif self.gray:
            values_hwc = np.broadcast_to(values_hwc.mean(axis=2, keepdims=True), values_hwc.shape)
        black, white, top = self.levels.black, self.levels.white, self.levels.top
        values = values_hwc * np.float32(self.deviation) + np.float32(self.mean)
        values = np.clip(values, 0, None if self.deep else 1)
        if self.curve == "sqrt":
            values = values**2
        if self.deep:
            values = np.clip(values * (white - black) + black, black, top)
            return np.asarray(np.rint(values), np.uint16)
        return np.asarray(np.rint(values * 255), np.uint8)


def plain_tone(image_hwc: ImageArray) -> Tone:
    """From 0 to 1, as other people's networks are trained: gray and deep images come back as such.
    What is brighter than the white of deep gray is above 1.
    """
    return replace(Tone.of(image_hwc, "linear"), mean=0, deviation=1)


def _bend(image_hwc: ImageArray, curve: Curve, levels: Levels) -> FloatImage:
    values = image_hwc.astype(np.float32)
    if image_hwc.dtype == np.uint16:
        values = np.maximum(values - np.float32(levels.black), 0)
    values /= np.float32(levels.white - levels.black)
    return np.sqrt(values) if curve == "sqrt" else values
