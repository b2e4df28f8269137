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
    total = torch.zeros_like(x_bchw)
    weight = torch.zeros_like(x_bchw[:1, :1])
    for top in starts(height, tile, overlap):
        for left in starts(width, tile, overlap):
            window = (..., slice(top, top + tile), slice(left, left + tile))
            value = predict(x_bchw[window], condition_bchw[window])
            ramp = (
                _ramp(value.shape[-2], overlap)[:, None] * _ramp(value.shape[-1], overlap)[None, :]
            )
            ramp = ramp.to(x_bchw.device)
            total[window] += value * ramp
            weight[window] += ramp
    return total / weight


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
