"""A denoiser that looks at windows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.adapters.diffusers.tiles import Windows

GRID = (21, 33)
TILE = 8


class Spatial(nn.Module):
    """Predicts from each latent alone, and from what a ControlNet adds there."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Size] = []

    def forward(
        self,
        sample: Tensor,
        timestep: int,
        down_block_additional_residuals: tuple[Tensor, ...] | None = None,
        mid_block_additional_residual: Tensor | None = None,
        return_dict: bool = True,
    ) -> tuple[Tensor]:
        self.seen.append(sample.shape)
        more = 0 if mid_block_additional_residual is None else mid_block_additional_residual
        return (torch.sin(sample[:, :4] * timestep) + more,)


class Pointwise(nn.Module):
    """A ControlNet that sees 8 by 8 pixels of its picture at each latent."""

    def forward(
        self, sample: Tensor, timestep: int, controlnet_cond: Tensor, return_dict: bool = True
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        shown = nn.functional.avg_pool2d(controlnet_cond, 8)
        return (), sample[:, :4] * shown[:, :1]


class Tokens(nn.Module):
    """Predicts from each token alone; says what places it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def forward(self, hidden_states: Tensor, img_ids: Tensor) -> tuple[Tensor]:
        self.seen.append(img_ids)
        return (torch.sin(hidden_states),)


class Extents(Tokens):
    """The same, told the extent of its picture."""

    def forward(  # type: ignore[override]
        self, hidden_states: Tensor, img_shapes: list[list[tuple[int, int, int]]]
    ) -> tuple[Tensor]:
        self.seen.append(img_shapes)
        return (torch.sin(hidden_states),)


@pytest.mark.parametrize("channels", [4, 9])
def test_windows_of_latents_give_what_one_look_gives(channels: int) -> None:
    net = Spatial()
    windows = Windows(net, None)
    x = torch.randn(2, channels, *GRID)
    (whole,) = net(x, 3)
    with windows.over(GRID, TILE):
        (made,) = net(x, 3)
    torch.testing.assert_close(made, whole, rtol=0, atol=1e-6)
    assert all(max(shape[-2:]) <= TILE for shape in net.seen[1:])
    assert len(net.seen) > 10


def test_a_controlnet_is_asked_for_every_window() -> None:
    net, control = Spatial(), Pointwise()
    windows = Windows(net, control)
    x, picture = torch.randn(1, 4, *GRID), torch.rand(1, 3, GRID[0] * 8, GRID[1] * 8)

    def both() -> Tensor:
        down, mid = control(x, 3, controlnet_cond=picture)
        value: Tensor = net(
            x, 3, down_block_additional_residuals=down, mid_block_additional_residual=mid
        )[0]
        return value

    whole = both()
    with windows.over(GRID, TILE):
        made = both()
    torch.testing.assert_close(made, whole, rtol=0, atol=1e-5)


def test_windows_of_tokens_give_what_one_look_gives_and_are_pictures_of_their_own() -> None:
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in GRID), indexing="ij")
    ids = torch.stack([torch.zeros_like(rows), rows, columns], -1).reshape(-1, 3).float()
    x = torch.randn(2, GRID[0] * GRID[1], 5)
    net = Tokens()
    windows = Windows(net, None)
    with windows.over(GRID, TILE):
        (made,) = net(hidden_states=x, img_ids=ids)
    torch.testing.assert_close(made, torch.sin(x), rtol=0, atol=1e-6)
    for seen in net.seen:
        assert seen.shape == (TILE * TILE, 3)
        assert seen.max(dim=0).values.tolist() == [0, TILE - 1, TILE - 1]
        assert seen.min() == 0


def test_windows_of_tokens_with_an_extent_are_told_their_own() -> None:
    x = torch.randn(2, GRID[0] * GRID[1], 5)
    net = Extents()
    with Windows(net, None).over(GRID, TILE):
        (made,) = net(hidden_states=x, img_shapes=[[(1, *GRID)]] * 2)
    torch.testing.assert_close(made, torch.sin(x), rtol=0, atol=1e-6)
    assert all(seen == [[(1, TILE, TILE)]] * 2 for seen in net.seen)
