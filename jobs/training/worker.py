"""What every Ray Train worker runs: `jobs.training.train` starts it, on one worker or on many.

Each worker computes its share of every batch; the gradients are summed over them, so that the
result is that of one worker on the same batch, but for rounding. Worker 0 validates, saves and
reports; what it decides (precision, early stopping) all of them follow.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
import torch.distributed
from ray.util.queue import Queue

from pipeline.training.config import CONFIGS, Precision
from pipeline.training.pace import measure_pace
from pipeline.training.session import Session
from pipeline.training.state import Validation
from pipeline.training.stopping import Stopping


@dataclass(frozen=True)
class CheckpointReport:
    """One checkpoint: the validation of the averaged weights, and a picture (PNG)."""

    step: int
    validation: Validation | None
    picture: bytes


@dataclass(frozen=True)
class EndReport:
    """The model folder is written. `best`: the step of the weights in it; `picture`: what they
    make, where no checkpoint of this start has shown it.
    """

    step: int
    best: int
    precision: Precision
    validation: dict[int, Validation]
    picture: bytes | None


def train_worker(settings: dict[str, Any]) -> None:
    """Trains to the last step, continuing from the newest checkpoint; worker 0 writes the model
    folder.
    """
    kind, queue = settings["kind"], settings["queue"]
    config = CONFIGS[kind].model_validate(settings["config"])
    torch.set_num_threads(config.threads)
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    session = Session(config, kind, ray.train.torch.get_device(), rank, world)
    state = session.state
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            state.load(Path(folder))
    first = state.step
    if not state.over:
        pace = measure_pace(session)
        if rank == 0:
            queue.put(pace)
    while not state.over:
        report = session.step()
        if rank == 0:
            queue.put(report)
        if state.over or state.step % config.checkpoint_every == 0:
            _checkpoint(session, queue)
    if rank == 0:
        session.task.save(Path(config.out), state.result())
        queue.put(_end(session, shown=state.step > first))


def _checkpoint(session: Session, queue: Queue) -> None:
    """Every worker takes part in the report; worker 0 brings the file."""
    state = session.state
    if session.rank == 0:
        found = session.validate()
        if found is not None:
            state.validated(found)
        picture = session.picture(state.average.state_dict())
        queue.put(CheckpointReport(state.step, found, picture))
    if session.world > 1 and state.config.patience is not None:
        state.stopping = _of_worker_0(state.stopping, session.device)
    if session.rank != 0:
        ray.train.report({"step": state.step})
        return
    with tempfile.TemporaryDirectory() as folder:
        state.save(Path(folder))
        ray.train.report(
            {"step": state.step}, checkpoint=ray.train.Checkpoint.from_directory(folder)
        )


def _of_worker_0(stopping: Stopping, device: torch.device) -> Stopping:
    """What worker 0 knows, in all of them: they must end at the same step."""
    misses = torch.tensor(stopping.misses, device=device)
    torch.distributed.broadcast(misses, 0)
    return Stopping(stopping.best_step, stopping.best_loss, int(misses))


def _end(session: Session, shown: bool) -> EndReport:
    state = session.state
    best = state.stopping.best_step if state.best else state.step
    picture = None if shown and best == state.step else session.picture(state.result())
    return EndReport(state.step, best, state.precision, state.validation, picture)
