"""A convolutional U-Net with a time: DDPM's (Ho et al. 2020) without attention, as in diffusers'
`UNet2DModel`, and with its names, its initialisation and its bits; a test holds it to that.

It is written out here because importing diffusers' one imports transformers, peft and accelerate,
too: with the solver's, 13 s of CPU beside torch's own 4 (measured: 17.4 s, now 4.6), in every actor
and every command that loads a model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

GROUPS = 16
EPS = 1e-5
SLOWEST = 10_000.0
"""Periods of the time's sines, 2π to nearly 2π times this."""

FRAGILE = 64, 2**31
"""Images of a batch, and values that come out, from where on torch's channels-last upsampling
fails: diffusers issue 984, pytorch issue 141831.
"""


class UNet(nn.Module):
    """(b, `channels_in`, h, w) and times, (b,), to (b, `channels_out`, h, w).

    `widths`: channels of each level, each half as wide as the one before; `blocks`: residual blocks
    per level, one more on the way up.
    """

    def __init__(
        self, channels_in: int, channels_out: int, widths: Sequence[int], blocks: int
    ) -> None:
        super().__init__()
        first, last, time = widths[0], widths[-1], widths[0] * 4
        self.conv_in = nn.Conv2d(channels_in, first, 3, padding=1)
        self.time_embedding = _TimeEmbedding(first, time)
        self.down_blocks = nn.ModuleList(
            _Down(before, width, time, blocks, halves=level < len(widths) - 1)
            for level, (before, width) in enumerate(zip((first, *widths[:-1]), widths, strict=True))
        )
        self.up_blocks = nn.ModuleList()  # before the middle: the order of an optimizer's state
        self.mid_block = _Middle(last, time)
        skipped = list(reversed(widths))
        self.up_blocks.extend(
            _Up(before, width, skip, time, blocks + 1, doubles=level < len(widths) - 1)
            for level, (before, width, skip) in enumerate(
                zip((last, *skipped[:-1]), skipped, (*skipped[1:], first), strict=True)
            )
        )
        self.conv_norm_out = _GroupNorm(GROUPS, first, EPS)
        self.conv_out = nn.Conv2d(first, channels_out, 3, padding=1)

    def forward(self, x_bchw: Tensor, t_b: Tensor) -> Tensor:
        """Sides must be multiples of 2 to the number of levels less one."""
        waves = time_waves(t_b, self.conv_in.out_channels)
        time = self.time_embedding(waves.to(self.conv_in.weight.dtype))
        x = self.conv_in(x_bchw)
        skips = [x]
        for block in self.down_blocks:
            x = block(x, time, skips)
        x = self.mid_block(x, time)
        for block in self.up_blocks:
            x = block(x, time, skips)
        out: Tensor = self.conv_out(silu(self.conv_norm_out(x)))
        return out


def time_waves(t_b: Tensor, width: int) -> Tensor:
    """Cosines and sines of the times, (b, width), in float32."""
    half = width // 2
    exponents = -math.log(SLOWEST) * torch.arange(half, dtype=torch.float32, device=t_b.device)
    angles = t_b[:, None].float() * torch.exp(exponents / half)[None, :]
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)


class _GroupNorm(nn.GroupNorm):
    """torch's, also where a group is one value: an image of one position, alone in its batch, which
    `functional.group_norm` takes for a mistake in a training.
    """

    def forward(self, x_bchw: Tensor) -> Tensor:
        return torch.group_norm(x_bchw, self.num_groups, self.weight, self.bias, self.eps)


class _TimeEmbedding(nn.Module):
    def __init__(self, width: int, time: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, time)
        self.linear_2 = nn.Linear(time, time)

    def forward(self, waves: Tensor) -> Tensor:
        out: Tensor = self.linear_2(silu(self.linear_1(waves)))
        return out


class _Residual(nn.Module):
    def __init__(self, width_in: int, width: int, time: int) -> None:
        super().__init__()
        self.norm1 = _GroupNorm(GROUPS, width_in, EPS)
        self.conv1 = nn.Conv2d(width_in, width, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, width)
        self.norm2 = _GroupNorm(GROUPS, width, EPS)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(width_in, width, 1) if width_in != width else None

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv1(silu(self.norm1(x)))
        h = h + self.time_emb_proj(silu(time))[:, :, None, None]
        h = self.conv2(silu(self.norm2(h)))
        if self.conv_shortcut is not None:
            # Contiguous in training: gradients of DDP have other strides (diffusers issue 12975).
            x = self.conv_shortcut(x.contiguous() if self.training else x)
        out: Tensor = x + h
        return out


class _Down(nn.Module):
    def __init__(self, width_in: int, width: int, time: int, blocks: int, halves: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            _Residual(width if number else width_in, width, time) for number in range(blocks)
        )
        self.downsamplers = nn.ModuleList([_Half(width)] if halves else [])

    def forward(self, x: Tensor, time: Tensor, skips: list[Tensor]) -> Tensor:
        for resnet in self.resnets:
            x = resnet(x, time)
            skips.append(x)
        for downsampler in self.downsamplers:
            x = downsampler(x)
            skips.append(x)
        return x


class _Middle(nn.Module):
    def __init__(self, width: int, time: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(_Residual(width, width, time) for _ in range(2))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        for resnet in self.resnets:
            x = resnet(x, time)
        return x


class _Up(nn.Module):
    """`skip`: channels of the level below on the way down, which its last block takes."""

    def __init__(
        self, width_in: int, width: int, skip: int, time: int, blocks: int, doubles: bool
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            _Residual(
                (width if number else width_in) + (skip if number == blocks - 1 else width),
                width,
                time,
            )
            for number in range(blocks)
        )
        self.upsamplers = nn.ModuleList([_Double(width)] if doubles else [])

    def forward(self, x: Tensor, time: Tensor, skips: list[Tensor]) -> Tensor:
        for resnet in self.resnets:
            x = resnet(torch.cat([x, skips.pop()], dim=1), time)
        for upsampler in self.upsamplers:
            x = upsampler(x)
        return x


class _Half(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class _Double(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        images, values = FRAGILE
        if len(x) >= images or x.numel() * 2 > values:
            x = x.contiguous()
        out: Tensor = self.conv(interpolate(x, scale_factor=2.0, mode="nearest"))
        return out
