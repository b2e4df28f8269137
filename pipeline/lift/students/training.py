"""One training: AdamW under one cosine, the same for every arm; the same seed, the same weights.

On one CPU thread to the last bit. On a GPU torch is told to be deterministic where it can: a few of
a detector's operations have no such version there, and torch does not warn of them here.
"""

from __future__ import annotations

import math

import torch

from pipeline.lift.config import Schooling
from pipeline.lift.feed import Feed
from pipeline.lift.students.learner import Learner


def train(learner: Learner, feed: Feed, schooling: Schooling) -> float:
    """The student has learnt; the mean loss of the last tenth of the steps."""
    learner.net.train()
    optimiser = torch.optim.AdamW(
        learner.net.parameters(), schooling.lr, weight_decay=schooling.weight_decay
    )
    losses = []
    for step in range(schooling.steps):
        for group in optimiser.param_groups:
            group["lr"] = schooling.lr * _pace(step, schooling)
        loss = learner.loss(feed.at(step))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learner.net.parameters(), schooling.clip)
        optimiser.step()
        losses.append(float(loss.detach()))
    tail = losses[-max(1, len(losses) // 10) :]
    return sum(tail) / len(tail)


def _pace(step: int, schooling: Schooling) -> float:
    """Of the learning rate: a linear start, then half a cosine down to 0."""
    rise = min(1.0, (step + 1) / max(1, schooling.warmup))
    return rise * 0.5 * (1 + math.cos(math.pi * step / schooling.steps))
