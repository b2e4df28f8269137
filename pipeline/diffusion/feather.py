"""Large images through networks that make them larger in one go: overlapping tiles, blended where
they meet.

The outermost `MARGIN` pixels of a tile are thrown away where another tile goes on: what a network
says there lacks half of its surroundings. Between the margins of two tiles one fades into the
other. So a network that sees at most `MARGIN` pixels far gives the same as in one piece, to the
rounding of float32 (1e-5 of the range); with others no seam can be seen, because none is sharp.

Memory: one tile on the device, and the enlarged image in float32 once, which its caller needs
anyway. (`tiling.py` is for denoising, where tiles are blended at every step.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from pipeline.diffusion.buckets import Shape
from pipeline.diffusion.tiling import starts

OVERLAP: Final = 32
"""Pixels of the small image that two tiles share; half of a tile, if that is less."""
MARGIN: Final = OVERLAP // 4
"""Pixels at a tile's inner border that do not count."""

Window = tuple[slice, slice]
"""Rows and columns of the small image."""


@dataclass(frozen=True, eq=False)
class _Band:
    """The rows (or columns) of a tile, and how much each enlarged one of them counts, from 0 to 1;
    over all bands of an image that adds up to 1.
    """

    small: slice
    large: slice
    weight_n: Tensor


def feathered(make: Callable[[Window], Tensor], hw: Shape, tile: int, scale: int) -> Tensor:
    """The image of `hw` small pixels, `scale` times as large, out of what `make` makes of tiles of
    at most `tile` pixels a side: (..., scale * rows, scale * columns) of a window, float32.
    """
    rows, columns = (_bands(side, tile, scale) for side in hw)
    if len(rows) == len(columns) == 1:
        return make((rows[0].small, columns[0].small))
    whole: Tensor | None = None
    for row in rows:
        for column in columns:
            part = make((row.small, column.small))
            if whole is None:
                whole = part.new_zeros((*part.shape[:-2], hw[0] * scale, hw[1] * scale))
            weight = row.weight_n[:, None] * column.weight_n
            whole[..., row.large, column.large] += part * weight
    assert whole is not None
    return whole


def _bands(side: int, tile: int, scale: int) -> list[_Band]:
    """The tiles along one side."""
    overlap = min(OVERLAP, tile // 2)
    length = min(side, tile)
    firsts = starts(side, tile, overlap)
    weights = [
        _weight(length, overlap, scale, first > 0, first + length < side) for first in firsts
    ]
    total = torch.zeros(side * scale)
    larges = [slice(first * scale, (first + length) * scale) for first in firsts]
    for large, weight in zip(larges, weights, strict=True):
        total[large] += weight
    return [
        _Band(slice(first, first + length), large, weight / total[large])
        for first, large, weight in zip(firsts, larges, weights, strict=True)
    ]


def _weight(length: int, overlap: int, scale: int, before: bool, behind: bool) -> Tensor:
    """1 inside; towards another tile it falls over the middle of the overlap, and is 0 beyond."""
    margin = overlap // 4
    fade = (overlap - 2 * margin) * scale
    distance = torch.arange(length * scale, dtype=torch.float32) + 0.5 - margin * scale
    ramp = (distance / fade).clamp(0, 1)
    ones = torch.ones_like(ramp)
    return torch.minimum(ramp if before else ones, ramp.flip(0) if behind else ones)
