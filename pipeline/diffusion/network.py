"""The native networks: a small, fully convolutional U-Net over patches.

Space-to-depth turns an image of (3, h, w) into (3·p², h/p, w/p): nothing is lost, and the U-Net
works on few, rich positions. A patch of 1 is for latents (`pipeline.diffusion.latent`), which have
been through that already. It has no attention, so any size that is a multiple of
`NetConfig.multiple` goes through.

What comes out is v, but what the U-Net makes is the clean image, from which v follows: v ≈ ε at low
noise, and a U-Net of 64 channels cannot carry 48 channels of noise through ("Back to Basics", Li &
He 2025). Measured on bccd at the same 300 steps: see README, "The models".
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from pipeline.diffusion.schedule import alpha_sigma
from pipeline.diffusion.unet import UNet
from schemas.spec import Spec

MIN_SIGMA = 0.2
"""Below this noise level v is not sharpened further, or the lowest levels would rule the loss."""


class NetConfig(Spec):
    """The shape of a U-Net."""

    patch: Literal[1, 2, 4, 8] = 4
    widths: tuple[int, ...] = Field((64, 128, 192), min_length=2, max_length=6)
    blocks: int = Field(2, ge=1, le=4, description="residual blocks per level")

    @property
    def multiple(self) -> int:
        """Image sides must be multiples of this."""
        return int(self.patch * 2 ** (len(self.widths) - 1))


class PatchUNet(nn.Module):
    """v = net(x, t, condition), all at image resolution; the condition's channels are put beside
    the image's.
    """

    def __init__(
        self, config: NetConfig, image_channels: int, condition_channels: int, shift: float
    ) -> None:
        super().__init__()
        self.patch, self.shift = config.patch, shift
        self.unet = UNet(
            (image_channels + condition_channels) * config.patch**2,
            image_channels * config.patch**2,
            config.widths,
            config.blocks,
        )

    def forward(self, x_bchw: Tensor, t_b: Tensor, condition_bchw: Tensor) -> Tensor:
        """The predicted v, (b, image channels, h, w); t in [0, 1]."""
        x = pixel_unshuffle(torch.cat([x_bchw, condition_bchw], dim=1), self.patch)
        x = x.contiguous(memory_format=torch.channels_last)
        x0 = pixel_shuffle(self.unet(x, t_b * 1000).float(), self.patch)
        alpha, sigma = alpha_sigma(t_b, self.shift)
        return (alpha * x_bchw - x0) / sigma.clamp(min=MIN_SIGMA)
