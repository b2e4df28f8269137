"""EXIF: labels of the image as it is turned for the eye, brought back to the pixels as stored.

Shards hold the origin's bytes, and their labels are of the stored pixels; whoever decodes turns
both. Each orientation is an exchange of the axes, then flips of the stored image.
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np

from pipeline.geometry import rle_decode, rle_encode
from pipeline.importing.records import Box, Runs

ScalarT = TypeVar("ScalarT", bound=np.generic)

_STEPS: Final = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""Orientation -> exchange the axes, flip x, flip y (EXIF 2.32, tag 0x0112, inverted)."""


def swaps(orientation: int) -> bool:
    """Whether the turned image is as wide as the stored one is high."""
    return _STEPS[orientation][0]


def box_to_stored(box: Box, orientation: int, stored_wh: tuple[int, int]) -> Box:
    """A box of the turned image, in the stored one."""
    exchange, flip_x, flip_y = _STEPS[orientation]
    x0, y0, x1, y1 = (box[1], box[0], box[3], box[2]) if exchange else box
    width, height = stored_wh
    if flip_x:
        x0, x1 = width - x1, width - x0
    if flip_y:
        y0, y1 = height - y1, height - y0
    return x0, y0, x1, y1


def array_to_stored(
    turned_hw: np.ndarray[tuple[int, ...], np.dtype[ScalarT]], orientation: int
) -> np.ndarray[tuple[int, ...], np.dtype[ScalarT]]:
    """A map of the turned image, as one of the stored one."""
    exchange, flip_x, flip_y = _STEPS[orientation]
    array = turned_hw.T if exchange else turned_hw
    return array[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


def runs_to_stored(runs: Runs, orientation: int, turned_hw: tuple[int, int]) -> Runs:
    """A mask of the turned image, as one of the stored one."""
    mask_hw = rle_decode(runs, *turned_hw)
    return tuple(rle_encode(np.ascontiguousarray(array_to_stored(mask_hw, orientation))))
