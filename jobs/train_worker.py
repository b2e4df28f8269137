"""What every Ray Train worker runs: `jobs.train` starts it, on one worker or on many.

Each worker computes its share of every batch; the gradients are averaged between them, so that the
result is that of one worker on the same batch, but for rounding.
"""

from __future__ import annotations

import io
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from ray.util.queue import Queue
from torch import nn

from pipeline.diffusion.native import save_native
from pipeline.training.config import CONFIGS, TrainConfig
from pipeline.training.crops import CropSet
from pipeline.training.denoising import DenoiserTask
from pipeline.training.state import TrainState
from pipeline.training.upscaling import UpscalerTask

VALIDATION_CROPS = 64
GALLERY_CROPS = 6
GALLERY_NUMBER = (
    10**9
)  # crops of this number on are never trained on: the picture shows held-out windows


@dataclass(frozen=True)
class StepReport:
    """One optimiser step."""

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    seconds: float


@dataclass(frozen=True)
class CheckpointReport:
    """One checkpoint: the validation loss of the averaged weights, and a picture (PNG)."""

    step: int
    validation_loss: float | None
    picture: bytes


def train_worker(settings: dict[str, Any]) -> None:
    """Trains to the last step, continuing from the newest checkpoint; worker 0 writes the model
    folder.
    """
    config = CONFIGS[settings["kind"]].model_validate(settings["config"])
    queue: Queue = settings["queue"]
    torch.set_num_threads(config.threads)
    context = ray.train.get_context()
    session = _Session(config, settings["kind"], context.get_world_rank(), context.get_world_size())
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            session.state.load(Path(folder))
    while session.state.step < config.steps:
        report = session.step()
        if session.rank == 0:
            queue.put(report)
        last = session.state.step == config.steps
        if last or session.state.step % config.checkpoint_every == 0:
            _checkpoint(session, queue)
    if session.rank == 0:
        save_native(Path(config.out), session.task.model_config, session.state.average.state_dict())


def _checkpoint(session: _Session, queue: Queue) -> None:
    """Every worker takes part in the report; worker 0 brings the file."""
    step = session.state.step
    if session.rank != 0:
        ray.train.report({"step": step})
        return
    queue.put(CheckpointReport(step, session.validation_loss(), session.picture()))
    with tempfile.TemporaryDirectory() as folder:
        session.state.save(Path(folder))
        ray.train.report({"step": step}, checkpoint=ray.train.Checkpoint.from_directory(folder))


_TASKS: dict[str, type[DenoiserTask] | type[UpscalerTask]] = {
    "denoiser": DenoiserTask,
    "upscaler": UpscalerTask,
}


class _Session:
    """One worker's data, network and state."""

    def __init__(self, config: TrainConfig, kind: str, rank: int, world: int) -> None:
        self.config, self.rank, self.world = config, rank, world
        self.crops = CropSet(config.data, config.crop, config.flips, config.curve, config.seed)
        self.held_out = (
            CropSet(config.validation, config.crop, False, config.curve, config.seed + 1)
            if config.validation
            else None
        )
        self.device = ray.train.torch.get_device()
        self.task = _TASKS[kind](config, self.crops)
        torch.manual_seed(config.seed)
        net = self.task.build().to(self.device).to(memory_format=torch.channels_last)
        self.state = TrainState(net, config)
        self.parallel: nn.Module = ray.train.torch.prepare_model(net) if world > 1 else net

    def step(self) -> StepReport:
        """A worker's share of the next batch."""
        started = time.perf_counter()
        config, step = self.config, self.state.step
        rate = self.state.learning_rate()
        share = config.batch // self.world
        first = step * config.batch + self.rank * share
        numbers = range(first, first + share)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            loss = self.task.loss(self.parallel, self.crops, numbers, config.batch, self.device)
        _, norm = self.state.update([loss])
        return StepReport(
            self.state.step, float(loss.detach()), rate, norm, time.perf_counter() - started
        )

    @torch.inference_mode()
    def validation_loss(self) -> float | None:
        """Of the averaged weights, over always the same crops, times and noise."""
        if self.held_out is None:
            return None
        losses = []
        for first in range(0, VALIDATION_CROPS, 16):
            numbers = range(first, first + 16)
            loss = self.task.loss(
                self.state.average, self.held_out, numbers, VALIDATION_CROPS, self.device
            )
            losses.append(float(loss))
        return sum(losses) / len(losses)

    def picture(self) -> bytes:
        """The gallery of the averaged weights, as PNG."""
        crops = self.held_out or self.crops
        samples = [crops.crop(GALLERY_NUMBER + i)[0] for i in range(GALLERY_CROPS)]
        grid = self.task.picture(self.state.average.state_dict(), samples, str(self.device))
        buffer = io.BytesIO()
        grid.save(buffer, "PNG")
        return buffer.getvalue()
