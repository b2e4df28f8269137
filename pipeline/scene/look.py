"""The look of an image, apart from its layout: the colour of its ground, how its objects stand out
from it, and how the light falls.

    ground   the commonest brightness outside the objects, and the colour there. Not the mean: where
             a data set labels half of its cells, half of the ground is cells (bccd).
    objects  per class the mean colour against the ground, and the energy of that difference
    light    the ground's coarsest structure: what lies between the objects, blurred over `REACH` of
             the image (normalised convolution, Knutsson & Westin 1993), against its own mean

`restyled` gives one image the look of another. Contrast is one number, the ratio of the objects'
energies, so that a picture is stained more or less as a whole; hue is a ridge regression between
the mean colours of the classes that both have, held near "no change". Matching each channel's mean
and deviation (Reinhard et al. 2001) turned red cells brown or green, and a free colour matrix
turned them pale: three mean colours do not determine it. Exposure is a linear map only after the
transfer curve of the model (`pipeline/diffusion/tone.py`), so everything is measured after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from pipeline.diffusion.tone import Curve, FloatImage
from pipeline.labels.regions import object_region, objects_region
from schemas.sample import BoolArray, ByteArray, FloatArray, ImageArray, Sample

MARGIN: Final = 3
"""Pixels around an object that are neither ground nor object."""

LEAST_PIXELS: Final = 30
"""Of a region, to speak for it."""

COMMONEST: Final = 0.3
"""The share of the ground whose brightnesses lie closest together: of a normal distribution it is
0.77 standard deviations wide. What lies within two of them is taken for ground."""

REACH: Final = 1 / 6
"""Deviation of the blur that leaves the light, as a share of the longer side: beyond the largest
cells of bccd, narrower than a vignette."""

COARSE: Final = 8
"""Light is kept at an eighth of the size."""

MAX_GAIN: Final = 4.0
RIDGE: Final = 0.5
"""Of the colours' energy: a hue that all classes share is followed to two thirds."""


@dataclass(frozen=True)
class Colour:
    """How a class stands out: mean difference to the ground, its energy, its share of the image."""

    offset_c: FloatArray
    energy: float
    share: float


@dataclass(frozen=True)
class Look:
    """The look of one image, in values after the transfer curve."""

    ground_c: FloatArray
    colours: Mapping[str, Colour]
    light_hwc: FloatImage

    def distance(self, other: Look) -> float:
        """How different two looks are to the eye: in the colour of the ground, and in contrast."""
        apart = float(np.linalg.norm(self.ground_c - other.ground_c))
        return apart + abs(self._contrast() - other._contrast())

    def _contrast(self) -> float:
        energies = [colour.energy for colour in self.colours.values()]
        return float(np.sqrt(np.mean(energies))) if energies else 0.0


def look_of(sample: Sample, curve: Curve) -> Look:
    """What can be seen of it; of a sample without labels all is ground."""
    values = _bend(sample.image_hwc, curve)
    ground, ground_c = _ground(values, ~objects_region(sample, MARGIN))
    colours = {
        name: Colour(offsets.mean(0), float((offsets**2).mean()), region.mean())
        for name, region in _class_regions(sample).items()
        if (offsets := values[region].astype(np.float64) - ground_c).size >= 3 * LEAST_PIXELS
    }
    return Look(ground_c, colours, _light(values - ground_c.astype(np.float32), ground))


def restyled(sample: Sample, donor: Sample, curve: Curve) -> ByteArray:
    """The image of `sample` in the look of `donor`; both of 8 bits."""
    ours, theirs = look_of(sample, curve), look_of(donor, curve)
    values = _bend(sample.image_hwc, curve) - ours.ground_c.astype(np.float32)
    values = values - _spread(ours.light_hwc, sample)
    values = values @ _colour_matrix(ours, theirs).astype(np.float32).T
    values = values + theirs.ground_c.astype(np.float32) + _spread(theirs.light_hwc, sample)
    if _is_gray(sample) and _is_gray(donor):
        values = np.broadcast_to(values.mean(axis=2, keepdims=True), values.shape)
    values = np.clip(values, 0, 1)
    values = values**2 if curve == "sqrt" else values
    return np.asarray(np.rint(values * 255), np.uint8)


def _colour_matrix(ours: Look, theirs: Look) -> FloatArray:
    """Offsets from our ground to offsets from theirs: a contrast, and a hue held near none."""
    names = sorted(set(ours.colours) & set(theirs.colours))
    if not names:
        return np.eye(3)
    pairs = [(ours.colours[name], theirs.colours[name]) for name in names]
    weights = np.sqrt([a.share * b.share for a, b in pairs])
    weights /= weights.sum()
    energy_a = float(np.sum(weights * [a.energy for a, _ in pairs]))
    energy_b = float(np.sum(weights * [b.energy for _, b in pairs]))
    gain = float(np.clip(np.sqrt(energy_b / max(energy_a, 1e-8)), 1 / MAX_GAIN, MAX_GAIN))
    from_n3 = np.array([a.offset_c for a, _ in pairs])
    missing_n3 = np.array([b.offset_c for _, b in pairs]) / gain - from_n3
    weighted = from_n3 * weights[:, None]
    gram = weighted.T @ from_n3
    ridge = (RIDGE * np.trace(gram) + 1e-6) * np.eye(3)
    hue: FloatArray = np.linalg.solve(gram + ridge, weighted.T @ missing_n3).T
    return gain * (np.eye(3) + hue)


def _ground(values: FloatImage, outside: BoolArray) -> tuple[BoolArray, FloatArray]:
    """The pixels of the ground and their colour: around the commonest brightness out there."""
    if outside.sum() < LEAST_PIXELS:
        outside = np.ones_like(outside)
    brightness = values.mean(axis=2)
    found = np.sort(brightness[outside])
    count = max(1, int(COMMONEST * len(found)))
    widths = found[count - 1 :] - found[: len(found) - count + 1]
    start = int(widths.argmin())
    low, high = float(found[start]), float(found[start + count - 1])
    reach = 2 * (high - low) / 0.77 + 0.01
    ground: BoolArray = outside & (np.abs(brightness - (low + high) / 2) <= reach)
    core = outside & (brightness >= low) & (brightness <= high)
    return ground, values[core].mean(axis=0, dtype=np.float64)


def _class_regions(sample: Sample) -> dict[str, BoolArray]:
    """The pixels of each class: masks; or the ellipses in boxes, where the class-id map has any."""
    regions: dict[str, BoolArray] = {}
    objects = sample.objects
    for i, label in enumerate(objects.labels):
        region = object_region(sample, i)
        if objects.masks_nhw is None:
            region &= _ellipse(objects.boxes_n4[i], region.shape)
        regions[label] = regions[label] | region if label in regions else region
    if sample.class_map_hw is not None:
        labelled = ~np.isin(sample.class_map_hw, (0, 255))
        regions = {name: region & labelled for name, region in regions.items()}
    return regions


def _ellipse(box: FloatArray, hw: tuple[int, ...]) -> BoolArray:
    x0, y0, x1, y1 = (float(v) for v in box)
    x = (np.arange(hw[1]) + 0.5 - (x0 + x1) / 2) / max((x1 - x0) / 2, 0.5)
    y = (np.arange(hw[0]) + 0.5 - (y0 + y1) / 2) / max((y1 - y0) / 2, 0.5)
    inside: BoolArray = x[None, :] ** 2 + y[:, None] ** 2 <= 1
    return inside


def _light(offsets_hwc: FloatImage, ground: BoolArray) -> FloatImage:
    """Coarse, and about zero where no ground is near."""
    height, width = ground.shape
    size = max(1, width // COARSE), max(1, height // COARSE)
    weight = cv2.resize(ground.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    known = cv2.resize(offsets_hwc * ground[:, :, None], size, interpolation=cv2.INTER_AREA)
    mean_c = known.sum(axis=(0, 1)) / max(float(weight.sum()), 1e-3)
    deviation = max(size) * REACH
    weight = cv2.GaussianBlur(weight, (0, 0), deviation, borderType=cv2.BORDER_REFLECT)
    known = cv2.GaussianBlur(known, (0, 0), deviation, borderType=cv2.BORDER_REFLECT)
    weight = weight[:, :, None]
    return np.asarray((known - mean_c * weight) / (weight + 1e-3), np.float32)


def _spread(light_hwc: FloatImage, sample: Sample) -> FloatImage:
    """Light over an image of any size."""
    size = sample.width, sample.height
    return np.asarray(cv2.resize(light_hwc, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _is_gray(sample: Sample) -> bool:
    return bool((sample.image_hwc == sample.image_hwc[:, :, :1]).all())


def _bend(image_hwc: ImageArray, curve: Curve) -> FloatImage:
    values = image_hwc.astype(np.float32) / np.float32(255)
    return np.sqrt(values) if curve == "sqrt" else values
