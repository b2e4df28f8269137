"""The few shapes that a pipeline is run in: aspect buckets of about its native pixel count, and for
larger images shapes that tiles cover.

No image is squashed: it is padded by reflection to the smallest bucket that holds it, and what is
made is cut back exactly. A bucket may have 1.25 times the native pixels: models bear that, and
640x480 is one look of a model of 512x512 then, not two tiles.

Every shape is a fixed point of `pipeline.diffusion.buckets.bucket`, so that what batches images
leaves it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pipeline.diffusion.buckets import Shape, bucket

ROOM: Final = 1.25
"""Pixels of the largest bucket, in native ones."""

ASPECTS: Final = (1.0, 1.25, 1.5, 1.75, 2.0)
"""Long sides of the buckets, in native sides."""


@dataclass(frozen=True)
class Shapes:
    """Of a pipeline whose images have `side` pixels a side, in multiples of `multiple`."""

    side: int
    multiple: int

    def of(self, hw: Shape) -> Shape:
        """What an image of this size is padded to."""
        fitting = [shape for shape in self.buckets if shape[0] >= hw[0] and shape[1] >= hw[1]]
        if fitting:
            return min(fitting, key=lambda shape: (shape[0] * shape[1], shape))
        height, width = (max(length, self.side) for length in hw)
        return bucket((height, width), self.multiple)

    def tiled(self, shape: Shape) -> bool:
        """Whether it is looked at in tiles."""
        return shape not in self.buckets

    @property
    def buckets(self) -> tuple[Shape, ...]:
        """Those that are looked at in one piece."""
        most = ROOM * self.side**2
        long = [self._below(self.side * aspect) for aspect in ASPECTS]
        pairs = [(self._below(min(most / side, self.side)), side) for side in long]
        return tuple(sorted({*pairs, *(pair[::-1] for pair in pairs)}))

    def _below(self, length: float) -> int:
        """The largest legal side up to this; the smallest one, if none is."""
        side = int(length) // self.multiple * self.multiple
        while side > self.multiple and bucket((side, side), self.multiple) != (side, side):
            side -= self.multiple
        return max(side, self.multiple)


def rounded(side: float, multiple: int) -> int:
    """The nearest multiple, at least one."""
    return max(1, round(side / multiple)) * multiple
