"""Boxes and masks: pure numpy, no choices.

Boxes are xyxy, pixels, float, half-open; a mask is aligned with its image. Run-length encoding is
COCO's uncompressed form: lengths of runs in column-major order, the first of them of zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.sample import BoolArray, FloatArray


def areas(boxes_n4: FloatArray) -> FloatArray:
    """Square pixels of each box; 0 for a reversed one."""
    sides: FloatArray = np.maximum(boxes_n4[:, 2:] - boxes_n4[:, :2], 0)
    area: FloatArray = sides[:, 0] * sides[:, 1]
    return area


def clip(boxes_n4: FloatArray, height: int, width: int) -> FloatArray:
    """Boxes cut at the border of the image."""
    cut: FloatArray = np.clip(boxes_n4, 0, [width, height, width, height])
    return cut


def overhang(boxes_n4: FloatArray, height: int, width: int) -> FloatArray:
    """By how many pixels each box reaches out of the image; 0 inside."""
    outside = np.abs(boxes_n4 - clip(boxes_n4, height, width))
    return np.asarray(outside.max(axis=1, initial=0), dtype=np.float64)


def iou(a_n4: FloatArray, b_m4: FloatArray) -> FloatArray:
    """Intersection over union of each box of a with each of b, (n, m)."""
    low = np.maximum(a_n4[:, None, :2], b_m4[None, :, :2])
    high = np.minimum(a_n4[:, None, 2:], b_m4[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    union = areas(a_n4)[:, None] + areas(b_m4)[None, :] - shared
    ratio: FloatArray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def touched(box: FloatArray) -> tuple[slice, slice]:
    """Rows and columns of the pixels that a box inside its image touches."""
    x0, y0 = np.floor(box[:2]).astype(int)
    x1, y1 = np.ceil(box[2:]).astype(int)
    return slice(int(y0), int(y1)), slice(int(x0), int(x1))


def painted(boxes_n4: FloatArray, height: int, width: int) -> BoolArray:
    """One mask per box, filled, (n, h, w)."""
    masks_nhw: BoolArray = np.zeros((len(boxes_n4), height, width), np.bool_)
    for mask_hw, box in zip(masks_nhw, boxes_n4, strict=True):
        mask_hw[touched(box)] = True
    return masks_nhw


def boxes_from_masks(masks_nhw: BoolArray) -> FloatArray:
    """The tight box of each mask; all zeros for an empty one."""
    boxes_n4: FloatArray = np.zeros((len(masks_nhw), 4))
    for box, mask_hw in zip(boxes_n4, masks_nhw, strict=True):
        rows, columns = np.flatnonzero(mask_hw.any(axis=1)), np.flatnonzero(mask_hw.any(axis=0))
        if len(rows):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes_n4


def rle_encode(mask_hw: BoolArray) -> list[int]:
    """Lengths of runs, column by column, beginning with the zeros before the first one."""
    flat: NDArray[np.bool_] = mask_hw.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff([0, *edges, flat.size]).tolist() if flat.size else [0]
    return [0, *runs] if flat.size and flat[0] else runs


def rle_decode(counts: Sequence[int], height: int, width: int) -> BoolArray:
    """The inverse of `rle_encode`; ValueError where the runs do not fill the mask exactly."""
    if any(count < 0 for count in counts) or sum(counts) != height * width:
        raise ValueError(f"runs of {sum(counts)} pixels for a mask of {height * width}")
    values = np.arange(len(counts)) % 2 == 1
    mask: BoolArray = np.repeat(values, counts).reshape((height, width), order="F")
    return mask
