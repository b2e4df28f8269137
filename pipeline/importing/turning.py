"""EXIF: labels of the image as it is turned for the eye, brought back to the pixels as stored.

Shards hold the origin's bytes, and their labels are of the stored pixels; whoever decodes turns
both (`images/orientation.py`). The way back is the inverse orientation.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from pipeline.images.orientation import INVERSE, stored_size, upright, upright_boxes
from pipeline.importing.records import Box, Runs
from pipeline.labels.geometry import rle_decode, rle_encode

ScalarT = TypeVar("ScalarT", bound=np.generic)


def swaps(orientation: int) -> bool:
    """Whether the turned image is as wide as the stored one is high."""
    return stored_size((0, 1), orientation) == (1, 0)


def box_to_stored(box: Box, orientation: int, stored_wh: tuple[int, int]) -> Box:
    """A box of the turned image, in the stored one."""
    boxes_n4 = np.array([box], dtype=np.float64)
    (stored,) = upright_boxes(boxes_n4, stored_wh[::-1], INVERSE[orientation]).tolist()
    return stored[0], stored[1], stored[2], stored[3]


def array_to_stored(
    turned_hw: np.ndarray[tuple[int, ...], np.dtype[ScalarT]], orientation: int
) -> np.ndarray[tuple[int, ...], np.dtype[ScalarT]]:
    """A map of the turned image, as one of the stored one."""
    return upright(turned_hw, INVERSE[orientation])


def runs_to_stored(runs: Runs, orientation: int, turned_hw: tuple[int, int]) -> Runs:
    """A mask of the turned image, as one of the stored one."""
    mask_hw = rle_decode(runs, *turned_hw)
    return tuple(rle_encode(array_to_stored(mask_hw, orientation)))
