"""EXIF orientation: how a stored image is turned to be upright, and its labels with it.

A camera stores what its sensor sees, and a number from 1 to 8 that says how to look at it. Every
one of them is at most a transposition, then a mirror of the columns, then one of the rows:

    1 as it is    2 mirrored         3 turned by 180    4 upside down
    5 transposed  6 turned right     7 transversed      8 turned left
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from schemas.sample import FloatArray

T = TypeVar("T", bound=np.generic)

# orientation: (transpose, mirror columns, mirror rows), in this order
_STEPS: Final = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


INVERSE: Final = {orientation: orientation for orientation in range(1, 9)} | {6: 8, 8: 6}
"""The orientation that undoes one: turns to the left and to the right undo each other."""


def stored_size(hw: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Height and width as stored of an image that is upright at `hw`, and the other way round."""
    return hw[::-1] if _STEPS[orientation][0] else hw


def upright(pixels: NDArray[T], orientation: int) -> NDArray[T]:
    """Stored pixels, (h, w) or (h, w, c), as one looks at them."""
    return np.ascontiguousarray(turned(pixels, orientation))


def turned(pixels: NDArray[T], orientation: int) -> NDArray[T]:
    """The same as a view of them."""
    transpose, columns, rows = _STEPS[orientation]
    pixels = pixels.swapaxes(0, 1) if transpose else pixels
    pixels = pixels[:, ::-1] if columns else pixels
    return pixels[::-1] if rows else pixels


def upright_boxes(boxes_n4: FloatArray, hw: tuple[int, int], orientation: int) -> FloatArray:
    """Boxes of the stored frame in that of the image, which is upright at `hw`."""
    transpose, columns, rows = _STEPS[orientation]
    x0, y0, x1, y1 = boxes_n4.T
    if transpose:
        x0, y0, x1, y1 = y0, x0, y1, x1
    if columns:
        x0, x1 = hw[1] - x1, hw[1] - x0
    if rows:
        y0, y1 = hw[0] - y1, hw[0] - y0
    return np.stack([x0, y0, x1, y1], axis=1)
