"""Batches that do not fit, with a real allocation that no machine has room for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from pipeline.diffusion.buckets import Shape
from pipeline.diffusion.memory import made_in_batches
from pipeline.model import Made
from schemas.errors import SampleError

AREA = 64 * 64  # what one of 16x16 counts for, too


class Model:
    """Anything that can be remembered."""


class Painter:
    """Makes images that name their position; has room for so many at once."""

    def __init__(self, room: int, broken: Sequence[int] = ()) -> None:
        self.room, self.broken = room, broken
        self.batches: list[list[int]] = []

    def __call__(self, shape: Shape, positions: Sequence[int]) -> list[Made]:
        self.batches.append(list(positions))
        if len(positions) > self.room:
            torch.empty(2**56)  # 256 PB
        return [self._one(shape, i) for i in positions]

    def _one(self, shape: Shape, position: int) -> Made:
        if position in self.broken:
            return SampleError("not_finite")
        return np.full((*shape, 3), position, np.uint8)


def names(outcomes: Sequence[Made]) -> list[int | str]:
    return [o.slug if isinstance(o, SampleError) else int(o[0, 0, 0]) for o in outcomes]


def test_a_batch_that_does_not_fit_is_halved_and_stays_so() -> None:
    model, painter = Model(), Painter(room=2)
    shapes = [(16, 16)] * 7
    assert names(made_in_batches(model, shapes, 8, 8 * AREA, painter)) == list(range(7))
    assert [len(batch) for batch in painter.batches] == [8, 4, 2, 2, 2, 2]
    painter.batches.clear()
    assert names(made_in_batches(model, shapes[:2], 8, 8 * AREA, painter)) == [0, 1]
    assert painter.batches == [[0, 1]]


def test_another_model_keeps_its_batches() -> None:
    small, large = Painter(room=1), Painter(room=8)
    made_in_batches(Model(), [(16, 16)] * 4, 8, 4 * AREA, small)
    made_in_batches(Model(), [(16, 16)] * 4, 8, 4 * AREA, large)
    assert large.batches == [[0, 1, 2, 3]]


def test_an_image_that_does_not_fit_alone_fails_by_name_and_the_rest_goes_on() -> None:
    class Narrow(Painter):
        def __call__(self, shape: Shape, positions: Sequence[int]) -> list[Made]:
            self.room = 4 if shape == (16, 16) else 0
            return super().__call__(shape, positions)

    outcomes = made_in_batches(Model(), [(16, 16), (64, 64), (16, 16)], 8, 4 * AREA, Narrow(0))
    assert names(outcomes) == [0, "out_of_memory", 2]
    assert isinstance(outcomes[1], SampleError) and "64x64" in outcomes[1].detail


def test_an_image_that_fails_in_company_is_tried_alone() -> None:
    class Shy(Painter):
        def _one(self, shape: Shape, position: int) -> Made:
            alone = len(self.batches[-1]) == 1
            return Painter(9)._one(shape, position) if alone else super()._one(shape, position)

    painter = Shy(room=9, broken=[1])
    assert names(made_in_batches(Model(), [(16, 16)] * 3, 8, 3 * AREA, painter)) == [0, 1, 2]
    assert painter.batches == [[0, 1, 2], [1]]


def test_any_other_error_is_no_lack_of_memory() -> None:
    def broken(shape: Shape, positions: Sequence[int]) -> list[Made]:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="do not match"):
        made_in_batches(Model(), [(16, 16)], 8, AREA, broken)
