"""Whether a validation image was seen before: a leak, which stops a lift test by name.

Two images are the same where their pixels are, whatever file they came in; and nearly the same
where their looks (`pipeline/known/fingerprint.py`) correlate by `MIN_CORRELATION` or more, also
mirrored or turned by quarter turns: recompressed, resized, a little blurred, brightened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.known.fingerprint import candidates, look_at, looks, small_gray
from schemas.sample import ImageArray, Sample

MIN_CORRELATION: Final = 0.95
"""Measured values are in tests/pipeline/lift/test_leak.py."""
MAX_SAID: Final = 10


@dataclass(frozen=True)
class Leak:
    """A validation image, what it is the same as, and how much: 1 for the same pixels."""

    key: str
    seen: str
    correlation: float

    def __str__(self) -> str:
        how = "is" if self.correlation == 1 else f"is nearly (correlation {self.correlation:.3f})"
        return f"{self.key} {how} {self.seen}"


class Watch:
    """The validation images, and whether others are among them."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._keys = [sample.key for sample in samples]
        self._pixels = {_pixels(sample.image_hwc): i for i, sample in enumerate(samples)}
        upright = [look_at(small_gray(sample.image_hwc)) for sample in samples]
        self._hashes = np.array([one.hash for one in upright], np.uint64)
        self._grays = np.array([one.gray for one in upright])

    def leaks(self, samples: Iterable[Sample], where: str) -> Iterator[Leak]:
        """Every one of these images that is a validation image; `where` says what they are."""
        for sample in samples:
            found = self._found(sample)
            if found is not None:
                yield Leak(self._keys[found[0]], f"{sample.key} of {where}", found[1])

    def _found(self, sample: Sample) -> tuple[int, float] | None:
        same = self._pixels.get(_pixels(sample.image_hwc))
        if same is not None:
            return same, 1.0
        eight = looks(small_gray(sample.image_hwc))
        near = candidates(self._hashes, eight)
        if not len(near):
            return None
        alike = (self._grays[near] @ np.stack([look.gray for look in eight], axis=1)).max(axis=1)
        best = int(alike.argmax())
        if alike[best] < MIN_CORRELATION:
            return None
        return int(near[best]), min(float(alike[best]), 0.999)


def said(leaks: Sequence[Leak]) -> str:
    """The first of them, for a message."""
    lines = [f"  {leak}" for leak in leaks[:MAX_SAID]]
    more = [f"  ... and {len(leaks) - MAX_SAID} more"] if len(leaks) > MAX_SAID else []
    return "\n".join([*lines, *more])


def _pixels(image_hwc: ImageArray) -> str:
    """Of the pixels, not of the file."""
    head = f"{image_hwc.shape}{image_hwc.dtype}".encode()
    return hashlib.blake2b(head + image_hwc.tobytes(), digest_size=16).hexdigest()
