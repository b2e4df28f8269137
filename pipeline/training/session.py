"""One worker's data, network and state, and what it does: a step, a validation, a picture.

A batch is shared out by number: worker r of w takes crops r·b/w to (r + 1)·b/w of it, in
`accumulate` micro-batches one after the other. Losses are means over crops, so the sum of all
gradients, each with its share, is that of one worker on the whole batch, but for rounding.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipeline.diffusion.native import begin_from
from pipeline.training.config import Kind, Precision, TrainConfig
from pipeline.training.crops import CropSet
from pipeline.training.denoising import DenoiserTask
from pipeline.training.mixed import training_crops
from pipeline.training.state import TrainState, Validation, Weights
from pipeline.training.upscaling import UpscalerTask
from schemas.errors import RunError

GALLERY_CROPS = 6
GALLERY_NUMBER = 10**9
"""Crops of this number on are never trained on: the picture shows held-out windows."""


@dataclass(frozen=True)
class StepReport:
    """One optimiser step; the loss is that of the whole batch."""

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    seconds: float


class Session:
    """Worker `rank` of `world`, at step 0."""

    def __init__(
        self, config: TrainConfig, kind: Kind, device: torch.device, rank: int = 0, world: int = 1
    ) -> None:
        self.config, self.device, self.rank, self.world = config, device, rank, world
        self.crops = training_crops(config)
        self.held_out = (
            CropSet(
                config.validation, config.crop, False, config.curve, config.seed + 1, config.scales
            )
            if config.validation
            else None
        )
        self.task: DenoiserTask | UpscalerTask = (
            DenoiserTask(config, self.crops, device)
            if kind == "denoiser"
            else UpscalerTask(config, self.crops)
        )
        torch.manual_seed(config.seed)
        net = self.task.build()
        if config.init is not None:
            begin_from(net, self.task.model_config, Path(config.init))
        net = net.to(device).to(memory_format=torch.channels_last)
        self.state = TrainState(net, config)

    def step(self) -> StepReport:
        """A worker's share of the next batch. RunError where the loss is no number any more."""
        report = self.take_step(self.state, self.state.precision)
        if not math.isfinite(report.loss):
            raise RunError(
                f"step {report.step}: the loss is {report.loss}; a smaller `lr`, or "
                "`precision: fp32`, keeps it in bounds"
            )
        return report

    def take_step(self, state: TrainState, precision: Precision) -> StepReport:
        """One step of a state, which need not be this session's."""
        started = time.perf_counter()
        rate = state.learning_rate()
        loss, norm = state.update(self._losses(state, precision), self.world)
        return StepReport(state.step, loss, rate, norm, time.perf_counter() - started)

    def share(self, step: int) -> range:
        """The numbers of this worker's crops at a step."""
        share = self.config.batch // self.world
        first = step * self.config.batch + self.rank * share
        return range(first, first + share)

    def _losses(self, state: TrainState, precision: Precision) -> Iterator[Tensor]:
        """The loss of each micro-batch, as its share of the whole batch's."""
        mine, pieces = self.share(state.step), self.config.accumulate
        size = len(mine) // pieces
        for start in range(0, len(mine), size):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16"):
                loss = self.task.loss(
                    state.net,
                    self.crops,
                    mine[start : start + size],
                    self.config.batch,
                    self.device,
                )
            yield loss / (pieces * self.world)

    @torch.inference_mode()
    def validate(self) -> Validation | None:
        """Of the averaged weights, over always the same crops, times and noise."""
        if self.held_out is None:
            return None
        return self.task.validation(self.state.average, self.held_out, self.device)

    def picture(self, weights: Weights) -> bytes:
        """The gallery of these weights, as PNG."""
        crops = self.held_out or self.crops
        samples = [crops.crop(GALLERY_NUMBER + i)[0] for i in range(GALLERY_CROPS)]
        grid = self.task.picture(weights, samples, str(self.device))
        buffer = io.BytesIO()
        grid.save(buffer, "PNG")
        return buffer.getvalue()
