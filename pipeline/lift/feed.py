"""What a student sees at each step: crops of labelled and augmented images, in a fixed order.

A crop is a window of the image at the student's scale, shown through the arm's transforms. Every
choice comes from the seed by name, so that step k is the same whatever was before it, and the n-th
labelled crop the same in every arm. Images come once before one comes again. Boxes of which less
than `VISIBLE` is in the window are left out; what lies beyond a small image is its repeated border,
unlabelled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from pipeline.diffusion.tone import Curve, FloatImage, Tone
from pipeline.labels.geometry import areas, clip
from pipeline.ops.classic import Classic
from pipeline.seeds import noise_seed, rng_for
from schemas.sample import IGNORE_ID, NO_INSTANCES, ByteArray, Instances, Sample

VISIBLE: Final = 0.35
"""Share of a box that must lie in the crop: less is a sliver that nobody can tell."""


def tone_of(image_hwc: ByteArray, curve: Curve | None) -> Tone:
    """Of the whole image; without a curve, 0 to 255 become 0 to 1."""
    return Tone("linear", 0.0, 1.0) if curve is None else Tone.of(image_hwc, curve)


@dataclass(frozen=True, eq=False)
class Crop:
    """Pixels as the student sees them, and their labels in pixels of the crop."""

    values_hwc: FloatImage
    sample: Sample


@dataclass(frozen=True)
class Showing:
    """How images are shown: `crop` pixels at `scale`, through `transforms`, `tone` normalised."""

    crop: int
    scale: float
    tone: Curve | None
    transforms: Classic | None


@dataclass(frozen=True)
class Feed:
    """Batches by the number of the step. `share`: of augmented images, at the first and last."""

    real: Sequence[Sample]
    augmented: Sequence[Sample]
    share: tuple[float, float]
    showing: Showing
    steps: int
    batch: int
    seed: int

    def at(self, step: int) -> list[Crop]:
        """The crops of one step, from 0."""
        first, last = self._augmented_before(step), self._augmented_before(step + 1)
        many = self.batch - (last - first)
        start = step * self.batch - first
        return [
            *(self._crop(self.real, "real", k) for k in range(start, start + many)),
            *(self._crop(self.augmented, "augmented", k) for k in range(first, last)),
        ]

    def _augmented_before(self, step: int) -> int:
        """Augmented crops in all steps before: the sum under a line from one share to the other."""
        if not self.augmented:
            return 0
        low, high = self.share
        mean = low * step + (high - low) * step * (step - 1) / (2 * max(1, self.steps - 1))
        return math.floor(self.batch * mean + 1e-9)

    def _crop(self, images: Sequence[Sample], what: str, k: int) -> Crop:
        n = len(images)
        order = rng_for(self.seed, f"order/{what}", k // n, "lift").permutation(n)
        rng = rng_for(self.seed, f"crop/{what}", k, "lift")
        sample, showing = images[int(order[k % n])], self.showing
        side = max(1, round(showing.crop / showing.scale))
        top, left = (
            int(rng.integers(max(length - side, 0) + 1)) for length in (sample.height, sample.width)
        )
        window = resized(cut(sample, top, left, side), showing.crop, showing.crop)
        if showing.transforms is not None:
            draw = {"seed": noise_seed(rng)}
            (shown,) = showing.transforms.apply([window], [draw], {}, {})
            if not isinstance(shown, Sample):
                raise shown
            window = resized(shown, showing.crop, showing.crop)
        tone = tone_of(sample.rgb_hwc, showing.tone)
        return Crop(tone.encode(window.rgb_hwc), window)


def cut(sample: Sample, top: int, left: int, side: int) -> Sample:
    """A square window of a sample, at its own scale."""
    rows, columns = slice(top, top + side), slice(left, left + side)
    image = sample.rgb_hwc[rows, columns]
    missing = ((0, side - image.shape[0]), (0, side - image.shape[1]))
    objects = replace(sample.objects, masks_nhw=None)
    boxes = objects.boxes_n4 - np.array([left, top, left, top])
    inside = clip(boxes, side, side)
    seen = np.flatnonzero(areas(inside) > VISIBLE * np.maximum(areas(boxes), 1e-9)).tolist()
    class_map = sample.class_map_hw
    if class_map is not None:
        class_map = np.pad(class_map[rows, columns], missing, constant_values=IGNORE_ID)
    return replace(
        sample,
        image_hwc=np.pad(image, (*missing, (0, 0)), mode="edge"),
        instances=Instances(inside, objects.labels).take(seen) if len(objects) else NO_INSTANCES,
        class_map_hw=class_map,
    )


def resized(sample: Sample, height: int, width: int) -> Sample:
    """The sample at this size: by area where it shrinks, linear where it grows; maps by nearest."""
    if (sample.height, sample.width) == (height, width):
        return sample
    how = cv2.INTER_AREA if height < sample.height else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(sample.rgb_hwc, (width, height), interpolation=how), np.uint8)
    zoom = np.array([width / sample.width, height / sample.height] * 2)
    objects, class_map = sample.objects, sample.class_map_hw
    if class_map is not None:
        nearest = cv2.resize(class_map, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        class_map = np.asarray(nearest, np.uint8)
    return replace(
        sample,
        image_hwc=image,
        instances=Instances(objects.boxes_n4 * zoom, objects.labels),
        class_map_hw=class_map,
    )
