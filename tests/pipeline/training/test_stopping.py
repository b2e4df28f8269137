"""Early stopping: what counts as better, when it ends, which weights stay, also after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.training.state import TrainState, Validation
from pipeline.training.stopping import Stopping
from tests.pipeline.training.test_training import SOURCE, config


def after(losses: list[float], improvement: float = 0.0) -> Stopping:
    stopping = Stopping()
    for step, loss in enumerate(losses, 1):
        stopping = stopping.seen(step, loss, improvement)
    return stopping


def test_a_lower_loss_is_better_and_forgets_the_misses() -> None:
    assert after([3, 4, 5, 2]) == Stopping(4, 2, 0)
    assert after([3, 2, 2, 2.5]) == Stopping(2, 2, 2)


def test_an_improvement_below_the_least_that_counts_is_a_miss() -> None:
    assert after([100, 99.5, 99], improvement=0.02) == Stopping(1, 100, 2)
    assert after([100, 99.5, 97], improvement=0.02) == Stopping(3, 97, 0)


def test_a_loss_that_is_no_number_is_a_miss() -> None:
    assert after([float("nan"), 2, float("nan")]) == Stopping(2, 2, 1)


def test_it_is_over_after_so_many_misses_and_never_without_patience() -> None:
    assert not after([1, 2, 3]).over(3)
    assert after([1, 2, 3, 4]).over(3)
    assert not after([1, 2, 3, 4]).over(None)


def state() -> TrainState:
    torch.manual_seed(0)
    settings = config(patience=2, validation=SOURCE, steps=100, ema=0.5, lr=0.1)
    return TrainState(torch.nn.Linear(3, 1), settings)


def step(state: TrainState) -> None:
    state.update([state.net(torch.ones(1, 3)).square().sum()])


@pytest.mark.parametrize("killed", [False, True])
def test_the_best_averaged_weights_are_kept_and_survive_a_kill(
    killed: bool, tmp_path: Path
) -> None:
    training = state()
    kept = {}
    for loss in (3.0, 1.0, 2.0, 2.0):
        assert not training.over
        step(training)
        training.validated(Validation(loss, (loss, loss)))
        if loss == 1.0:
            kept = {k: v.clone() for k, v in training.average.state_dict().items()}
        if killed:
            training.save(tmp_path)
            training = state()
            training.load(tmp_path)
    assert training.over
    assert training.step == 4
    for name, value in training.result().items():
        assert torch.equal(value, kept[name])
        assert not torch.equal(value, training.average.state_dict()[name])
    assert training.validation[2] == Validation(1.0, (1.0, 1.0))
