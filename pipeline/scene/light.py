"""The light of an image: its ground, and how objects stand out from it.

The ground is what lies outside all boxes. An object's contrast is the median of its middle less the
ground, per channel; the gain from one image to another is the ratio of the contrasts that objects
of a class have in the two. So a dim nucleus of a bright image becomes a dim one of a dim image, and
stays what it is beside its siblings; a red cell takes the stain of the smear that it comes to.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.scene.per_sample import per_sample
from pipeline.scene.shape import Shape, ellipse_in
from schemas.sample import BoolArray, FloatArray, Sample

GAIN: Final = (0.5, 2.0)
"""Contrasts further apart are not matched: noise would be seen to grow."""
FAINT: Final = 4.0
"""Gray levels; of a smaller contrast no ratio is taken."""
GROUND_LIKE: Final = 0.4
"""Share of the usual contrast up to which a pixel looks like the ground."""


def ground_around(sample: Sample, shape: Shape) -> FloatArray:
    """The median colour around a shape, outside all boxes; that of the image where it is hemmed
    in.
    """
    height, width = shape.mask_hw.shape
    reach = max(6, round(0.3 * max(height, width)))
    rows = slice(max(shape.top - reach, 0), shape.top + height + reach)
    columns = slice(max(shape.left - reach, 0), shape.left + width + reach)
    free = ground_region(sample)[rows, columns]
    patch = sample.image_hwc[rows, columns]
    if free.sum() < 40:
        free, patch = ground_region(sample), sample.image_hwc
    pixels = patch[free] if free.any() else patch.reshape(-1, patch.shape[2])
    return np.asarray(np.median(pixels, axis=0), np.float64)


@per_sample
def ground_region(sample: Sample) -> BoolArray:
    """Where no object is: outside all boxes, grown by a pixel."""
    free = np.ones((sample.height, sample.width), bool)
    for box in sample.objects.boxes_n4:
        x0, y0 = np.maximum(np.floor(box[:2]).astype(int) - 1, 0)
        x1, y1 = np.ceil(box[2:]).astype(int) + 1
        free[y0:y1, x0:x1] = False
    return free


def _ratio(sample: Sample, donor: Sample, label: str) -> FloatArray:
    """How much more contrast objects of a class have in `sample` than in `donor`, per channel; 1
    where one of them has no such object, or no contrast to speak of.
    """
    here, there = contrasts(sample).get(label), contrasts(donor).get(label)
    if here is None or there is None:
        return np.ones(sample.image_hwc.shape[2])
    faint = (np.minimum(np.abs(here), np.abs(there)) < FAINT) | (here * there <= 0)
    return np.asarray(np.where(faint, 1.0, here / np.where(faint, 1.0, there)), np.float64)


def alike(sample: Sample, donor: Sample, label: str) -> bool:
    """Whether the donor's objects of a class can be matched to the light of `sample`."""
    ratio = _ratio(sample, donor, label)
    return bool((ratio >= GAIN[0]).all() and (ratio <= GAIN[1]).all())


def busy(sample: Sample, shape: Shape) -> float:
    """Which share of the pixels under a shape is not like the ground around it."""
    here = sample.image_hwc[shape.window][shape.mask_hw].astype(np.float64)
    return 1 - float(like_ground(sample, here, ground_around(sample, shape)).mean())


@per_sample
def contrasts(sample: Sample) -> dict[str, FloatArray]:
    """By class: the median difference of its objects' middles from the image's ground, in gray
    levels, per channel.
    """
    free = ground_region(sample)
    ground = np.median(sample.image_hwc[free], axis=0) if free.any() else 0.0
    found: dict[str, list[FloatArray]] = {}
    for box, label in zip(sample.objects.boxes_n4, sample.objects.labels, strict=True):
        centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 4
        middle = np.concatenate([centre - half, centre + half])
        inner = ellipse_in(middle, sample.height, sample.width)
        pixels = sample.image_hwc[inner.window][inner.mask_hw]
        if len(pixels):
            found.setdefault(label, []).append(np.median(pixels, axis=0) - ground)
    return {label: np.median(values, axis=0) for label, values in found.items()}


def gain(sample: Sample, donor: Sample, label: str) -> FloatArray:
    """By how much a donor's object is to stand out more here, per channel, within GAIN."""
    return np.asarray(np.clip(_ratio(sample, donor, label), *GAIN), np.float64)


def like_ground(sample: Sample, pixels_nc: FloatArray, ground: FloatArray) -> BoolArray:
    """Which of these pixels look like this ground, by the usual contrast of the sample's objects;
    objects that nobody labelled do not.
    """
    levels = [np.abs(level).mean() for level in contrasts(sample).values()]
    limit = max(GROUND_LIKE * float(np.median(levels)), FAINT) if levels else FAINT
    like: BoolArray = np.abs(pixels_nc - ground).mean(axis=-1) <= limit
    return like
