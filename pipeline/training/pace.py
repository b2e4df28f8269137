"""How long a training will take on this device, from steps that are taken and thrown away.

With `precision: auto` both kinds are measured, and the faster one is chosen: bf16 is 1.35 times as
fast as fp32 on a CPU with AVX512-BF16, and several times slower on one without.
"""

from __future__ import annotations

import copy
import statistics
from dataclasses import dataclass

import torch
import torch.distributed

from pipeline.training.config import Precision
from pipeline.training.session import Session
from pipeline.training.state import TrainState

WARM, TIMED = 1, 3
"""Steps. The first of a kind sets up kernels and memory; the median of the others counts."""


@dataclass(frozen=True)
class PaceReport:
    """Seconds per step of every precision that was measured, and what is chosen; `left`: steps."""

    precision: Precision
    seconds: dict[Precision, float]
    left: int

    def __str__(self) -> str:
        per_step = self.seconds[self.precision]
        text = f"about {span(per_step * self.left)} for {self.left:,} steps of {per_step:.2f} s"
        if len(self.seconds) == 1:
            return f"{text} (measured, {self.precision})"
        found = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.seconds.items())
        return f"{text} (measured: {found}; {self.precision} is taken)"


def measure_pace(session: Session) -> PaceReport:
    """Takes a few steps in every precision that is open, on copies, and sets the session's."""
    state = session.state
    if state.precision == "auto":
        kinds: tuple[Precision, ...] = ("fp32", "bf16")
    else:
        kinds = (state.precision,)
    for step in range(state.step, state.step + WARM + TIMED):
        for k in session.share(step):  # the images are in the cache, for every precision alike
            session.crops.crop(k)
    found = torch.tensor([_seconds(session, kind) for kind in kinds], device=session.device)
    if session.world > 1:  # the slowest worker counts, and all choose the same
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
    seconds = dict(zip(kinds, found.tolist(), strict=True))
    state.precision = min(seconds, key=lambda kind: seconds[kind])
    return PaceReport(state.precision, seconds, state.config.steps - state.step)


def _seconds(session: Session, precision: Precision) -> float:
    trial = TrainState(copy.deepcopy(session.state.net), session.config)
    trial.step = session.state.step
    taken = [session.take_step(trial, precision).seconds for _ in range(WARM + TIMED)]
    return statistics.median(taken[WARM:])


def span(seconds: float) -> str:
    """A duration in words: 47 min."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"
