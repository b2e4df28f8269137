"""A small U-Net (Ronneberger et al. 2015): two convolutions a level, batch norm, bilinear up.

Batch norm and not group norm: what it learns of crops holds for whole images, whose own statistics
are others where objects are few.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class UNet(nn.Module):
    """Images (n, 3, h, w) of any size to scores (n, classes, h, w)."""

    def __init__(self, widths: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        ins = (3, *widths[:-1])
        self.down = nn.ModuleList(_double(i, o) for i, o in zip(ins, widths, strict=True))
        pairs = list(pairwise(widths))[::-1]
        self.up = nn.ModuleList(_double(fine + coarse, fine) for fine, coarse in pairs)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        missing = [-side % self.multiple for side in (width, height)]
        x = functional.pad(x, (0, missing[0], 0, missing[1]), mode="replicate")
        levels: list[Tensor] = []
        for stage in self.down:
            x = stage(functional.max_pool2d(x, 2) if levels else x)
            levels.append(x)
        for stage, finer in zip(self.up, levels[-2::-1], strict=True):
            grown = functional.interpolate(x, scale_factor=2.0, mode="bilinear")
            x = stage(torch.cat([finer, grown], dim=1))
        scores: Tensor = self.head(x)
        return scores[..., :height, :width]


def _double(ins: int, outs: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for width in (ins, outs):
        parts += [
            nn.Conv2d(width, outs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*parts)
