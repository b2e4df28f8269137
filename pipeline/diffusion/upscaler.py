"""The native upscaler: what an image's bicubic enlargement misses, in one step.

A flat residual network at the small image's own resolution, and one sub-pixel convolution a factor
(EDSR, Lim et al. 2017; ESPCN, Shi et al. 2016). It predicts the mean of what is missing, which is
what PSNR asks for. The first upscalers were diffusion models over that residual: making detail out
of noise takes many steps, each of which costs PSNR, and after a training of the same length they
were no better than bicubic at x2 (49.9 dB against 50.1 on blood cells).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, silu

from pipeline.diffusion.resample import FACTORS
from schemas.spec import Spec

TILE = 512
"""Side of a tile of the small image: memory stays below 1 GB, whatever the image's size."""


class UpscalerNetConfig(Spec):
    """The shape of an upscaler: `blocks` of two 3x3 convolutions over `width` channels."""

    width: int = Field(48, ge=4, le=512)
    blocks: int = Field(6, ge=1, le=64)

    @property
    def reach(self) -> int:
        """How far a pixel sees, in pixels of the small image."""
        return 2 * self.blocks + 3


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + 0.5 * self.second(silu(self.first(x)))
        return out


class UpscalerNet(nn.Module):
    """residual = net(small, factor): (b, 3, h, w) to (b, 3, factor h, factor w)."""

    def __init__(self, config: UpscalerNetConfig) -> None:
        super().__init__()
        self.reach = config.reach
        self.head = nn.Conv2d(3, config.width, 3, padding=1)
        self.body = nn.Sequential(*(_Block(config.width) for _ in range(config.blocks)))
        self.tails = nn.ModuleDict({str(factor): _tail(config.width, factor) for factor in FACTORS})

    def forward(self, small_bchw: Tensor, factor: int) -> Tensor:
        """The residual over bicubic; a network that has learnt nothing gives zeros."""
        x = self.head(small_bchw.contiguous(memory_format=torch.channels_last))
        return pixel_shuffle(self.tails[str(factor)](x + self.body(x)).float(), factor)


def _tail(width: int, factor: int) -> nn.Conv2d:
    tail = nn.Conv2d(width, 3 * factor**2, 3, padding=1)
    nn.init.zeros_(tail.weight)
    assert tail.bias is not None
    nn.init.zeros_(tail.bias)
    return tail


def tiled_residual(net: UpscalerNet, small_bchw: Tensor, factor: int, tile: int = TILE) -> Tensor:
    """The network over tiles that overlap by its reach: the same pixels as in one piece."""
    height, width = small_bchw.shape[-2:]
    if height <= tile and width <= tile:
        out: Tensor = net(small_bchw, factor)
        return out
    whole = small_bchw.new_zeros((len(small_bchw), 3, height * factor, width * factor))
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            first = [max(side - net.reach, 0) for side in (top, left)]
            part = small_bchw[
                ..., first[0] : top + tile + net.reach, first[1] : left + tile + net.reach
            ]
            made = net(part, factor)
            y, x = ((side - start) * factor for side, start in zip((top, left), first, strict=True))
            made = made[..., y : y + tile * factor, x : x + tile * factor]
            down, right = made.shape[-2:]
            y, x = top * factor, left * factor
            whole[..., y : y + down, x : x + right] = made
    return whole
