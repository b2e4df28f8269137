"""Training crops by number: crop k of a data set is the same on every worker, in every run and
after every restart.

So checkpoints need to remember nothing but the step, and any split of a batch over workers is the
same batch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from pipeline.codec import decode
from pipeline.diffusion.tone import Curve, Tone
from pipeline.seeds import rng_for
from pipeline.source import Chunk, plan, read_chunk
from schemas.recipe import Source
from schemas.sample import ByteArray, Instances, Sample

CACHED_IMAGES = 1000
"""Decoded images that a worker keeps: 0.9 MB each at 640x480."""


class CropSet:
    """Random access to crops of the samples in some shards."""

    def __init__(self, source: Source, size: int, flips: bool, curve: Curve, seed: int) -> None:
        self._source, self._size, self._flips, self._curve, self._seed = (
            source,
            size,
            flips,
            curve,
            seed,
        )
        self._where = [
            replace(chunk, samples=(ref,))
            for chunk in plan(source, 4096, "crops")
            for ref in chunk.samples
        ]
        self._cache: OrderedDict[int, tuple[Sample, Tone]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._where)

    def crop(self, k: int) -> tuple[Sample, Tone, Generator]:
        """Crop number k, the tone of the image that it is from, and a generator for what is drawn
        next.
        """
        rng = rng_for(self._seed, "crop", k, "train")
        sample, tone = self._decoded(int(rng.integers(len(self._where))))
        top, left = (
            int(rng.integers(max(side - self._size, 0) + 1))
            for side in (sample.height, sample.width)
        )
        cropped = cut(pad_to(sample, self._size), top, left, self._size)
        if self._flips:
            cropped = turned(
                cropped, quarter_turns=int(rng.integers(4)), mirror=bool(rng.integers(2))
            )
        return cropped, tone, rng

    def _decoded(self, i: int) -> tuple[Sample, Tone]:
        if i in self._cache:
            self._cache.move_to_end(i)
            return self._cache[i]
        chunk: Chunk = self._where[i]
        sample = decode(read_chunk(chunk, self._source)[0], self._source)
        self._cache[i] = (sample, Tone.of(sample.image_hwc, self._curve))
        if len(self._cache) > CACHED_IMAGES:
            self._cache.popitem(last=False)
        return self._cache[i]


def pad_to(sample: Sample, size: int) -> Sample:
    """At least `size` a side: the image is reflected at the right and bottom, the class-id map with
    it.
    """
    down, right = max(size - sample.height, 0), max(size - sample.width, 0)
    if not down and not right:
        return sample
    image = np.pad(sample.image_hwc, ((0, down), (0, right), (0, 0)), mode="reflect")
    ids = sample.class_map_hw
    if ids is not None:
        ids = np.pad(ids, ((0, down), (0, right)), mode="reflect")
    return replace(
        sample, image_hwc=image, class_map_hw=ids, instances=_without_masks(sample.instances)
    )


def cut(sample: Sample, top: int, left: int, size: int) -> Sample:
    """A square window; boxes keep their whole extent, also what lies outside the window."""
    window = (slice(top, top + size), slice(left, left + size))
    boxes = sample.objects.boxes_n4 - np.array([left, top, left, top], np.float64)
    seen: Sequence[int] = np.flatnonzero(
        (boxes[:, 0] < size) & (boxes[:, 1] < size) & (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
    ).tolist()
    return replace(
        sample,
        image_hwc=sample.image_hwc[window],
        class_map_hw=None if sample.class_map_hw is None else sample.class_map_hw[window],
        instances=Instances(boxes, sample.objects.labels).take(list(seen)),
    )


def turned(sample: Sample, quarter_turns: int, mirror: bool) -> Sample:
    """A square sample turned counter-clockwise, then mirrored left to right."""
    size = sample.width
    boxes = sample.objects.boxes_n4
    for _ in range(quarter_turns):  # (x, y) -> (y, size - x)
        boxes = np.stack([boxes[:, 1], size - boxes[:, 2], boxes[:, 3], size - boxes[:, 0]], axis=1)
    if mirror:
        boxes = np.stack([size - boxes[:, 2], boxes[:, 1], size - boxes[:, 0], boxes[:, 3]], axis=1)
    ids = sample.class_map_hw
    return replace(
        sample,
        image_hwc=_turn(sample.image_hwc, quarter_turns, mirror),
        class_map_hw=None if ids is None else _turn(ids, quarter_turns, mirror),
        instances=Instances(boxes, sample.objects.labels),
    )


def _turn(pixels: ByteArray, quarter_turns: int, mirror: bool) -> ByteArray:
    pixels = np.rot90(pixels, quarter_turns)
    return np.ascontiguousarray(pixels[:, ::-1] if mirror else pixels)


def _without_masks(instances: Instances | None) -> Instances | None:
    return None if instances is None else Instances(instances.boxes_n4, instances.labels)
