"""Outlines and run lengths -> the runs of a mask, without painting it.

Outlines are drawn as COCO's own tools draw them (faster_coco_eval's mask API). Run lengths are read
here: text from a file never reaches compiled code that trusts it. What cannot be drawn is a
SampleError with a slug of `findings.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from pipeline.importing.findings import Finding, repaired
from pipeline.importing.records import Box, Patch, Polygons, Rle, Runs
from pipeline.labels.geometry import rle_decode, rle_encode
from schemas.errors import SampleError

FAR_OUT: Final = 8
"""In sizes of the image: the drawing of an outline takes time and memory with its length."""

MAX_LETTERS: Final = 8
"""2^39 pixels in a run: with this bound, sums of runs stay exact."""

ROUNDING_PX: Final = 0.05
"""6 decimals of a share of 10,000 pixels are 0.01 pixels, and a corner is made of two of them."""


def draw(
    mask: Polygons | Rle | Patch, hw: tuple[int, int], place: str
) -> tuple[Runs, list[Finding]]:
    """The runs of a mask in an image of this size, and what had to be repaired."""
    found: list[Finding] = []
    match mask:
        case Rle():
            runs = _rle(mask, hw)
        case Patch():
            runs = _patch(mask, hw, place, found)
        case Polygons():
            runs = _outlines(mask, hw, place, found)
    if not any(runs[1::2]):
        raise SampleError("mask_empty", "")
    return runs, found


def box_of(runs: Sequence[int], height: int) -> Box:
    """The tight box of a mask that has a pixel."""
    ends = np.cumsum(runs)
    first = ends[:-1:2] if len(ends) % 2 else ends[::2]
    last = ends[1::2] - 1
    filled = last >= first
    first, last = first[filled], last[filled]
    x0, x1 = int(first[0] // height), int(last[-1] // height)
    whole = bool((first // height != last // height).any())
    y0 = 0 if whole else int((first % height).min())
    y1 = height - 1 if whole else int((last % height).max())
    return float(x0), float(y0), float(x1 + 1), float(y1 + 1)


def canonical(counts: Sequence[int]) -> Runs:
    """The same runs without empty ones, but for the first, which may be."""
    if 0 not in counts[1:]:
        return tuple(counts)
    runs: list[int] = []
    value, last = 0, -1
    for count in counts:
        if count and value == last:
            runs[-1] += count
        elif count:
            runs += [count] if runs or not value else [0, count]
            last = value
        value = 1 - value
    return tuple(runs) or (0,)


def _rle(mask: Rle, hw: tuple[int, int]) -> Runs:
    if mask.size != hw:
        raise SampleError("bad_rle", f"of size {list(mask.size)}, the image {list(hw)}")
    counts = decompress(mask.counts) if isinstance(mask.counts, str) else mask.counts
    if any(count < 0 for count in counts) or sum(counts) != hw[0] * hw[1]:
        raise SampleError("bad_rle", f"runs of {sum(counts)} pixels for {hw[0] * hw[1]}")
    return canonical(counts)


def decompress(text: str) -> list[int]:
    """COCO's compressed runs: 5 bits a letter from "0" on, the sixth says that more follow; from
    the fourth run on, the difference to the last but one (maskApi.c, rleFrString).
    """
    if not text.isascii():
        raise SampleError("bad_rle", "letters that compressed runs do not have")
    bits = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    if ((bits < 0) | (bits > 63)).any():
        raise SampleError("bad_rle", "letters that compressed runs do not have")
    ends = np.flatnonzero(bits < 32)
    if len(bits) and (not len(ends) or ends[-1] != len(bits) - 1):
        raise SampleError("bad_rle", "compressed runs end early")
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    letters = ends - starts + 1
    if (letters > MAX_LETTERS).any():
        raise SampleError("bad_rle", "a run beyond all sizes")
    shifts = 5 * (np.arange(len(bits)) - np.repeat(starts, letters))
    values = np.add.reduceat((bits & 31) << shifts, starts) if len(ends) else ends
    values = values - np.where(bits[ends] & 16, 1 << (5 * letters), 0)  # the sign is the top bit
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    counts: list[int] = values.tolist()
    return counts


def _patch(mask: Patch, hw: tuple[int, int], place: str, found: list[Finding]) -> Runs:
    """The part of a small mask that lies in the image."""
    small_hw = rle_decode(mask.counts, *mask.size)
    whole_hw = np.zeros(hw, np.bool_)
    x0, y0 = max(0, mask.x), max(0, mask.y)
    x1, y1 = min(hw[1], mask.x + mask.size[1]), min(hw[0], mask.y + mask.size[0])
    if x1 > x0 and y1 > y0:
        part_hw = small_hw[y0 - mask.y : y1 - mask.y, x0 - mask.x : x1 - mask.x]
        whole_hw[y0:y1, x0:x1] = part_hw
    lost = int(small_hw.sum()) - int(whole_hw.sum())
    if lost:
        found.append(repaired("mask_clipped", place, f"{lost} pixels"))
    return tuple(rle_encode(whole_hw))


def _outlines(mask: Polygons, hw: tuple[int, int], place: str, found: list[Finding]) -> Runs:
    from faster_coco_eval.core import mask as api

    parts = [part for part in mask.parts if len(part) >= 6]
    if len(parts) < len(mask.parts):
        shortest = min(len(part) // 2 for part in mask.parts)
        if not parts:
            raise SampleError("polygon_too_short", f"{shortest} points")
        found.append(repaired("polygon_too_short", place, f"{shortest} points; others are kept"))
    reach = max((_reach(part, hw) for part in parts), default=0.0)
    if not math.isfinite(reach):
        raise SampleError("polygon_not_finite", "")
    if reach > FAR_OUT * max(hw):
        raise SampleError("polygon_far_out", f"by {reach:g} pixels")
    if reach > ROUNDING_PX:
        found.append(repaired("polygon_clipped", place, f"by {reach:.2f} pixels", px=reach))
    if not parts:
        raise SampleError("polygon_too_short", "no outline at all")
    drawn = api.frPyObjects([list(part) for part in parts], *hw)
    whole = drawn[0] if len(drawn) == 1 else api.merge(drawn)
    return canonical(decompress(whole["counts"].decode("ascii")))


def _reach(part: tuple[float, ...], hw: tuple[int, int]) -> float:
    """By how many pixels an outline leaves its image."""
    if not all(map(math.isfinite, part)):
        return math.inf
    xs, ys = part[::2], part[1::2]
    return max(0.0, -min(xs), -min(ys), max(xs) - hw[1], max(ys) - hw[0])
