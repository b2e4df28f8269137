"""Images larger than memory allows: the network looks at overlapping tiles, whose predictions are
blended at every step (MultiDiffusion, Bar-Tal et al. 2023), so that no seam can build up and memory
is bounded by the tile.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TILE = 1024
OVERLAP = 128


def tiled(
    predict: Callable[[Tensor, Tensor], Tensor],
    x_bchw: Tensor,
    condition_bchw: Tensor,
    tile: int = TILE,
    overlap: int = OVERLAP,
) -> Tensor:
    """`predict(x, condition)` over tiles of at most `tile` pixels a side; in one piece where the
    image fits.
    """
    height, width = x_bchw.shape[-2:]
    if height <= tile and width <= tile:
        return predict(x_bchw, condition_bchw)

    def look(rows: slice, columns: slice) -> Tensor:
        return predict(x_bchw[..., rows, columns], condition_bchw[..., rows, columns])

    return blended(look, (height, width), tile, overlap)


def blended(
    look: Callable[[slice, slice], Tensor], hw: tuple[int, int], tile: int, overlap: int
) -> Tensor:
    """What `look` predicts for the rows and columns of each tile of a (..., h, w) picture, in one
    piece.
    """
    height, width = hw
    total: Tensor | None = None
    weight = torch.zeros(hw)
    for top in starts(height, tile, overlap):
        for left in starts(width, tile, overlap):
            rows, columns = slice(top, top + tile), slice(left, left + tile)
            value = look(rows, columns)
            ramp = (
                _ramp(value.shape[-2], overlap)[:, None] * _ramp(value.shape[-1], overlap)[None, :]
            )
            if total is None:
                total = value.new_zeros((*value.shape[:-2], height, width))
            total[..., rows, columns] += value * ramp.to(value.device)
            weight[rows, columns] += ramp
    assert total is not None
    return total / weight.to(total.device)


def starts(side: int, tile: int, overlap: int) -> list[int]:
    """Where tiles start: `tile - overlap` apart, and the last one ends at the border."""
    if side <= tile:
        return [0]
    step = tile - overlap
    return [*range(0, side - tile, step), side - tile]


def _ramp(side: int, overlap: int) -> Tensor:
    """1 inside, falling linearly towards both borders over the overlap; never 0."""
    distance = torch.arange(side, dtype=torch.float32) + 1
    return torch.minimum(distance, distance.flip(0)).clamp(max=overlap) / overlap
