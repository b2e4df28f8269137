"""The native networks: a small U-Net over patches of pixels, fully convolutional, from diffusers' blocks.

Space-to-depth turns an image of (3, h, w) into (3·p², h/p, w/p): nothing is lost, and the U-Net works on few, rich
positions. It has no attention, so any image size that is a multiple of `NetConfig.multiple` goes through.
"""

from __future__ import annotations

from typing import Literal

import torch
from diffusers import UNet2DModel
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from schemas.recipe import Spec


class NetConfig(Spec):
    """The shape of a U-Net."""

    patch: Literal[2, 4, 8] = 4
    widths: tuple[int, ...] = Field((64, 128, 192), min_length=2, max_length=6)
    blocks: int = Field(2, ge=1, le=4, description="residual blocks per level")

    @property
    def multiple(self) -> int:
        """Image sides must be multiples of this."""
        return int(self.patch * 2 ** (len(self.widths) - 1))


class PatchUNet(nn.Module):
    """v = net(x, t, condition), all at image resolution; the condition's channels are put beside the image's."""

    def __init__(self, config: NetConfig, image_channels: int, condition_channels: int) -> None:
        super().__init__()
        self.patch = config.patch
        levels = len(config.widths)
        self.unet = UNet2DModel(
            in_channels=(image_channels + condition_channels) * config.patch**2,
            out_channels=image_channels * config.patch**2,
            block_out_channels=config.widths,
            layers_per_block=config.blocks,
            down_block_types=("DownBlock2D",) * levels,
            up_block_types=("UpBlock2D",) * levels,
            add_attention=False,
            norm_num_groups=16,
        )

    def forward(self, x_bchw: Tensor, t_b: Tensor, condition_bchw: Tensor) -> Tensor:
        """The predicted v, (b, image channels, h, w); t in [0, 1]."""
        x = F.pixel_unshuffle(torch.cat([x_bchw, condition_bchw], dim=1), self.patch)
        x = x.contiguous(memory_format=torch.channels_last)
        v = self.unet(x, t_b * 1000, return_dict=False)[0]
        return F.pixel_shuffle(v, self.patch)
