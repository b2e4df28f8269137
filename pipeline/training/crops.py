"""Training crops by number: crop k of a data set is the same on every worker, in every run and
after every restart.

So checkpoints need to remember nothing but the step, and any split of a batch over workers is the
same batch.

With several `scales` the network sees objects of several sizes, and more of what is around them: a
crop of scale 0.5 is cut from the image at half its size (Pillow's antialiased bicubic; labels
scaled exactly, class ids by the nearest pixel). An image that is then smaller than a crop is shrunk
less. With `balance`, see `pipeline.training.balance`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from pipeline.codec import decode
from pipeline.diffusion.tone import Curve, Tone
from pipeline.seeds import rng_for
from pipeline.source.plan import Chunk, plan, read_chunk
from pipeline.training.balance import Balance, classes_in
from schemas.errors import SampleError, SourceError
from schemas.recipe import Source
from schemas.sample import FloatArray, ImageArray, Instances, Sample

Scalar = TypeVar("Scalar", bound=np.generic)

CACHED_IMAGES = 1000
"""Decoded images that a worker keeps: 0.9 MB each at 640x480."""


class CropSet:
    """Random access to crops of the samples in some shards."""

    def __init__(
        self,
        source: Source,
        size: int,
        flips: bool,
        curve: Curve,
        seed: int,
        scales: Sequence[float] = (1.0,),
        balance: float = 0.0,
    ) -> None:
        self._source, self._size, self._flips = source, size, flips
        self._curve, self._seed, self._scales = curve, seed, tuple(scales)
        chunks = plan(source, 4096, "crops").undamaged()
        self._where = [replace(chunk, samples=(ref,)) for chunk in chunks for ref in chunk.samples]
        if not self._where:
            raise SourceError(f"{', '.join(source.shards)}: no samples to train on")
        self._balance = (
            Balance.of(classes_in(chunks, source), balance)
            if balance
            else Balance(len(self._where))
        )
        self._cache: OrderedDict[int, tuple[Sample, Tone]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._where)

    def __str__(self) -> str:
        factors = [f"{name} x{factor:.2f}" for name, factor in self._balance.factors.items()]
        return f"{len(self)} images" + (f", balanced: {', '.join(factors)}" if factors else "")

    def mistakes(self) -> Iterator[str | None]:
        """Every image decoded: what is wrong with it, or None."""
        for i in range(len(self)):
            try:
                self._decode(i)
                yield None
            except SourceError as error:
                yield str(error)

    def crop(self, k: int) -> tuple[Sample, Tone, Generator]:
        """Crop number k, the tone of the image that it is from, and a generator for what is drawn
        next.
        """
        rng = rng_for(self._seed, "crop", k, "train")
        sample, tone = self._decoded(self._balance.image(rng))
        drawn = (
            self._scales[int(rng.integers(len(self._scales)))]
            if len(self._scales) > 1
            else (self._scales[0])
        )
        scale = fitting(drawn, self._size, (sample.height, sample.width))
        box = self._balance.box(sample.objects, rng)
        sample = pad_to(sample, self._size)
        top, left = (
            _place(rng, side, self._size / scale, None if box is None else box[axis::2].mean())
            for side, axis in ((sample.height, 1), (sample.width, 0))
        )
        cropped = cut(sample, top, left, self._size, scale)
        if self._flips:
            cropped = turned(
                cropped, quarter_turns=int(rng.integers(4)), mirror=bool(rng.integers(2))
            )
        return cropped, tone, rng

    def _decoded(self, i: int) -> tuple[Sample, Tone]:
        if i in self._cache:
            self._cache.move_to_end(i)
            return self._cache[i]
        sample = self._decode(i)
        self._cache[i] = (sample, Tone.of(sample.image_hwc, self._curve))
        if len(self._cache) > CACHED_IMAGES:
            self._cache.popitem(last=False)
        return self._cache[i]

    def _decode(self, i: int) -> Sample:
        chunk: Chunk = self._where[i]
        try:
            return decode(read_chunk(chunk, self._source)[0], self._source)
        except SampleError as error:
            key = chunk.samples[0].key
            raise SourceError(
                f"{chunk.shard.url}: sample {key!r}: {error}; leave it out, or mend it"
            ) from error


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


def fitting(scale: float, size: int, hw: tuple[int, int]) -> float:
    """The scale, or the smallest above it at which a crop of this size fits into the image."""
    return min(max(scale, size / min(hw)), 1.0)


def _place(rng: Generator, side: int, window: float, centre: float | None) -> int:
    """Where a window begins along one side; with a `centre`, it holds that point."""
    last = int(side - window)
    if centre is None:
        return int(rng.integers(last + 1))
    low = min(max(int(np.ceil(centre - window)), 0), last)
    return int(rng.integers(low, max(min(int(centre), last), low) + 1))


def cut(sample: Sample, top: int, left: int, size: int, scale: float = 1.0) -> Sample:
    """A square window of `size / scale` pixels, shrunk to `size`; boxes keep their whole extent,
    also what lies outside the window.
    """
    boxes = (sample.objects.boxes_n4 - np.array([left, top, left, top], np.float64)) * scale
    seen: Sequence[int] = np.flatnonzero(
        (boxes[:, 0] < size) & (boxes[:, 1] < size) & (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
    ).tolist()
    ids = sample.class_map_hw
    # the class id in the middle of each pixel of the crop
    middles = ((np.arange(size) + 0.5) / scale).astype(int)
    return replace(
        sample,
        image_hwc=_shrunk(sample.image_hwc, top, left, size, scale),
        class_map_hw=None if ids is None else ids[np.ix_(middles + top, middles + left)],
        instances=_moved(sample, boxes, seen),
    )


def _shrunk(image_hwc: ImageArray, top: int, left: int, size: int, scale: float) -> ImageArray:
    """The window at its scale; the filter also sees the pixels around the window, as if the whole
    image were shrunk.
    """
    if scale == 1:
        return image_hwc[top : top + size, left : left + size]
    height, width = image_hwc.shape[:2]
    side = size / scale
    window = (left, top, min(left + side, width), min(top + side, height))  # rounding of `side`
    channels = [
        Image.fromarray(image_hwc[:, :, c].astype(np.float32)).resize(
            (size, size), Image.Resampling.BICUBIC, box=window
        )
        for c in range(image_hwc.shape[2])
    ]
    largest = np.iinfo(image_hwc.dtype).max
    values = np.rint(np.clip(np.stack([np.asarray(c) for c in channels], axis=2), 0, largest))
    shrunk: ImageArray = values.astype(image_hwc.dtype)
    return shrunk


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
        instances=_moved(sample, boxes, range(len(boxes))),
    )


def _moved(sample: Sample, boxes_n4: FloatArray, seen: Sequence[int]) -> Instances | None:
    """Its objects in these boxes, as far as they are seen; None where nobody knows of objects."""
    if sample.instances is None:
        return None
    return Instances(boxes_n4, sample.instances.labels).take(list(seen))


def _turn(pixels: NDArray[Scalar], quarter_turns: int, mirror: bool) -> NDArray[Scalar]:
    pixels = np.rot90(pixels, quarter_turns)
    return np.ascontiguousarray(pixels[:, ::-1] if mirror else pixels)


def _without_masks(instances: Instances | None) -> Instances | None:
    return None if instances is None else Instances(instances.boxes_n4, instances.labels)
