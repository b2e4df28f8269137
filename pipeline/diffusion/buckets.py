"""Images of any size in batches of a few fixed shapes.

An image is padded by reflection to its bucket and cut back exactly, and a batch always has its
bucket's full size (a short one repeats its last image), so that pixels depend neither on the
neighbours nor on how many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int]

LEAST_PIXELS: Final = 64 * 64
"""What an image counts for at least: batches of tiny ones would be thousands, and mostly copies."""

Scalar = TypeVar("Scalar", bound=np.generic)


def bucket(hw: Shape, multiple: int) -> Shape:
    """The padded shape of an image: sides rounded up to `multiple`, and to 8 sizes per doubling."""
    return _round_up(hw[0], multiple), _round_up(hw[1], multiple)


def _round_up(side: int, multiple: int) -> int:
    step = max(multiple, 1 << max((side - 1).bit_length() - 4, 0))
    step = -(-step // multiple) * multiple
    return -(-side // step) * step


def pad(image_hwc: NDArray[Scalar], shape: Shape) -> NDArray[Scalar]:
    """Reflected at the right and bottom border, as often as needed, to this shape."""
    height, width = image_hwc.shape[:2]
    return np.pad(
        image_hwc, ((0, shape[0] - height), (0, shape[1] - width), (0, 0)), mode="reflect"
    )


def cost(shape: Shape) -> int:
    """The pixels that an image of this shape counts for in a batch."""
    return max(shape[0] * shape[1], LEAST_PIXELS)


def batches(
    shapes: Sequence[Shape], multiple: int, pixels: int
) -> Iterator[tuple[Shape, list[int]]]:
    """(bucket, positions) of every batch; each bucket's batches hold as many images as fit into
    `pixels`, at least one.

    The last batch of a bucket repeats its last position until it is full.
    """
    by_bucket: dict[Shape, list[int]] = {}
    for position, hw in enumerate(shapes):
        by_bucket.setdefault(bucket(hw, multiple), []).append(position)
    for shape, positions in sorted(by_bucket.items()):
        size = max(1, pixels // cost(shape))
        for start in range(0, len(positions), size):
            part = positions[start : start + size]
            yield shape, part + [part[-1]] * (size - len(part))
