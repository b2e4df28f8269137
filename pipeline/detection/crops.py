"""Training crops of a detector by number: crop k is the same in every run of this seed.

A square window of the image, resized to `size`, mirrored and turned by quarter turns, with its tone
jittered. Boxes are cut at the window; one of which less than `VISIBLE` is left is dropped. Images
have 8 bits; a deep one is a SampleError `deep_image`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.diffusion.tone import Curve, FloatImage, Tone
from pipeline.labels.geometry import areas, clip
from pipeline.seeds import rng_for
from schemas.sample import ByteArray, FloatArray, Sample

VISIBLE: Final = 0.35
"""Share of a box that must lie in the crop: less is a sliver that nobody can tell."""

ZOOM: Final = (0.8, 1.25)
"""Crops are zoomed by up to this: cells of one kind vary by about a quarter in size."""


@dataclass(frozen=True, eq=False)
class Crop:
    """Pixels as the network sees them, and its objects: positions in the list of classes."""

    values_hwc: FloatImage
    boxes_n4: FloatArray
    labels_n: NDArray[np.int64]


class DetectorCrops:
    """Random access to crops of some samples. Objects of other classes are left out."""

    def __init__(
        self,
        samples: Sequence[Sample],
        classes: Sequence[str],
        size: int,
        scale: float,
        curve: Curve,
        flips: bool,
        seed: int,
    ) -> None:
        self._samples, self._classes = list(samples), list(classes)
        self._size, self._scale, self._flips, self._seed = size, scale, flips, seed
        self._tones = [Tone.of(sample.rgb_hwc, curve) for sample in samples]

    def crop(self, k: int) -> Crop:
        """Crop number k. Every sample comes once before one comes again."""
        n = len(self._samples)
        order = rng_for(self._seed, "order", k // n, "detector").permutation(n)
        i = int(order[k % n])
        rng = rng_for(self._seed, "crop", k, "detector")
        sample, tone = self._samples[i], self._tones[i]
        window, boxes, labels = self._window(sample, rng)
        if self._flips:
            window, boxes = _turned(window, boxes, int(rng.integers(4)), bool(rng.integers(2)))
        values = tone.encode(window) * np.float32(rng.uniform(0.8, 1.25))
        values += np.float32(rng.uniform(-0.2, 0.2))
        noise = rng.standard_normal(values.shape, dtype=np.float32)
        return Crop(values + noise * np.float32(rng.uniform(0, 0.08)), boxes, labels)

    def _window(
        self, sample: Sample, rng: Generator
    ) -> tuple[ByteArray, FloatArray, NDArray[np.int64]]:
        side = max(1, round(self._size / self._scale / rng.uniform(*ZOOM)))
        top, left = (
            int(rng.integers(max(length - side, 0) + 1)) for length in (sample.height, sample.width)
        )
        part = sample.rgb_hwc[top : top + side, left : left + side]
        down, right = side - part.shape[0], side - part.shape[1]
        if down or right:  # an image smaller than the window: nothing is known beyond its border
            part = np.pad(part, ((0, down), (0, right), (0, 0)), mode="edge")
        kept = [j for j, label in enumerate(sample.objects.labels) if label in self._classes]
        objects = sample.objects.take(kept)
        boxes = objects.boxes_n4 - np.array([left, top, left, top])
        cut = clip(boxes, side, side)
        seen = areas(cut) > VISIBLE * np.maximum(areas(boxes), 1e-9)
        zoom = self._size / side
        labels = np.array([self._classes.index(label) for label in objects.labels], np.int64)
        return resized(part, (self._size, self._size)), cut[seen] * zoom, labels[seen]


def resized(image_hwc: ByteArray, hw: tuple[int, int]) -> ByteArray:
    """The image at this size: by area where it shrinks, linear where it grows."""
    if image_hwc.shape[:2] == hw:
        return image_hwc
    how = cv2.INTER_AREA if hw[0] < image_hwc.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image_hwc, hw[::-1], interpolation=how), np.uint8)


def _turned(
    image: ByteArray, boxes: FloatArray, quarter_turns: int, mirror: bool
) -> tuple[ByteArray, FloatArray]:
    """A square image turned counter-clockwise, then mirrored left to right."""
    size = image.shape[0]
    image = np.rot90(image, quarter_turns)
    for _ in range(quarter_turns):  # (x, y) -> (y, size - x)
        boxes = np.stack([boxes[:, 1], size - boxes[:, 2], boxes[:, 3], size - boxes[:, 0]], axis=1)
    if mirror:
        image = image[:, ::-1]
        boxes = np.stack([size - boxes[:, 2], boxes[:, 1], size - boxes[:, 0], boxes[:, 3]], axis=1)
    return np.ascontiguousarray(image), boxes
