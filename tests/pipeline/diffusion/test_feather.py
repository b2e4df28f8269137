"""Feathered tiles are the image in one piece, wherever a tile tells the truth."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.diffusion.feather import MARGIN, Window, feathered


@settings(max_examples=40, deadline=None)
@given(
    hw=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    tile=st.sampled_from([32, 40, 64, 128]),
    scale=st.sampled_from([1, 2, 4]),
)
def test_tiles_of_an_image_are_the_image(hw: tuple[int, int], tile: int, scale: int) -> None:
    small = torch.rand(1, 2, *hw)

    def make(window: Window) -> Tensor:
        part = small[(..., *window)]
        assert max(part.shape[2:]) <= tile
        return part.repeat_interleave(scale, 2).repeat_interleave(scale, 3)

    whole = small.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    assert torch.allclose(feathered(make, hw, tile, scale), whole, atol=1e-5)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_what_a_tile_says_within_its_margin_does_not_count(scale: int) -> None:
    def make(window: Window) -> Tensor:
        rows, columns = window
        part = torch.full(((rows.stop - rows.start) * scale, (columns.stop - columns.start)), 1.0)
        part = part.repeat_interleave(scale, 1)
        rim = MARGIN * scale
        inner = torch.zeros_like(part)
        top, left = (rim if s.start else 0 for s in window)
        bottom, right = (-rim if s.stop < 300 else None for s in window)
        inner[top:bottom, left:right] = 1
        return torch.where(inner > 0, part, torch.tensor(-9.0))

    made = feathered(make, (300, 300), 128, scale)
    assert torch.allclose(made, torch.ones_like(made), atol=1e-5)


def test_an_image_that_fits_is_made_in_one_piece() -> None:
    windows: list[Window] = []

    def make(window: Window) -> Tensor:
        windows.append(window)
        return torch.zeros(40, 64)

    feathered(make, (40, 64), 64, 1)
    assert windows == [(slice(0, 40), slice(0, 64))]
