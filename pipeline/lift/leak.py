"""Whether a validation image was seen before: a leak, which stops a lift test by name.

Two images are the same where their pixels are, whatever file they came in; and nearly the same
where they look alike to a perceptual hash (64 bits of a DCT, at most `MAX_BITS` apart) and
correlate by `MIN_CORRELATION` or more as gray of 64x64, also mirrored or turned by quarter turns:
recompressed, resized, a little blurred, brightened. The hash alone would call all dark images
alike, so what it finds is only looked at.

A crop of a validation image, or another shot of the same field, is not found by this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.sample import ImageArray, Sample

SIDE: Final = 64
MAX_BITS: Final = 14
"""Of 64: chance pairs are 32 apart. Measured values are in tests/pipeline/lift/test_leak.py."""
MIN_CORRELATION: Final = 0.95
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


@dataclass(frozen=True, eq=False)
class _Look:
    hash: np.uint64
    gray: NDArray[np.float32]  # (SIDE²,), zero mean and unit length


class Watch:
    """The validation images, and whether others are among them."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._keys = [sample.key for sample in samples]
        self._pixels = {_pixels(sample.image_hwc): i for i, sample in enumerate(samples)}
        looks = [_look(_gray(sample.image_hwc)) for sample in samples]
        self._hashes = np.array([one.hash for one in looks], np.uint64)
        self._grays = np.array([one.gray for one in looks])

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
        best, most = -1, MIN_CORRELATION
        for look in _looks(_gray(sample.image_hwc)):
            near = np.flatnonzero(np.bitwise_count(self._hashes ^ look.hash) <= MAX_BITS)
            alike = self._grays[near] @ look.gray
            if len(near) and alike.max() >= most:
                best, most = int(near[alike.argmax()]), float(alike.max())
        return None if best < 0 else (best, min(most, 0.999))


def said(leaks: Sequence[Leak]) -> str:
    """The first of them, for a message."""
    lines = [f"  {leak}" for leak in leaks[:MAX_SAID]]
    more = [f"  ... and {len(leaks) - MAX_SAID} more"] if len(leaks) > MAX_SAID else []
    return "\n".join([*lines, *more])


def _pixels(image_hwc: ImageArray) -> str:
    """Of the pixels, not of the file."""
    head = f"{image_hwc.shape}{image_hwc.dtype}".encode()
    return hashlib.blake2b(head + image_hwc.tobytes(), digest_size=16).hexdigest()


def _gray(image_hwc: ImageArray) -> NDArray[np.float32]:
    gray = image_hwc.astype(np.float32).mean(axis=2)
    return np.asarray(cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.float32)


def _looks(gray: NDArray[np.float32]) -> list[_Look]:
    """Mirrored and turned: eight."""
    return [
        _look(np.ascontiguousarray(np.rot90(side, turns)))
        for side in (gray, gray[:, ::-1])
        for turns in range(4)
    ]


def _look(gray: NDArray[np.float32]) -> _Look:
    low = cv2.dct(cv2.resize(gray, (32, 32), interpolation=cv2.INTER_AREA))[:8, :8].ravel()
    bits = low > np.median(low)
    value = np.uint64(int.from_bytes(np.packbits(bits).tobytes(), "big"))
    flat = gray.ravel() - gray.mean()
    length = float(np.linalg.norm(flat))
    return _Look(value, flat / length if length > 1e-6 else flat * 0)
