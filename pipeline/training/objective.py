"""What the native models learn: one batch of crops to one loss.

Both predict v by mean squared error. The times of a batch are stratified, (i + u) / b: every batch
sees all noise levels, and the loss varies less from batch to batch (Kingma et al. 2021, app. I.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.diffusion.label_map import label_map
from pipeline.diffusion.resample import FACTORS, shrunk_and_enlarged
from pipeline.diffusion.schedule import alpha_sigma
from pipeline.diffusion.tone import Tone
from pipeline.training.config import TrainConfig
from pipeline.training.crops import CropSet
from schemas.sample import Sample


@dataclass(frozen=True)
class Batch:
    """Targets, conditions, times and noise: (b, c, h, w), t in (b,)."""

    x0_bchw: Tensor
    condition_bchw: Tensor
    t_b: Tensor
    noise_bchw: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return Batch(
            *(t.to(device) for t in (self.x0_bchw, self.condition_bchw, self.t_b, self.noise_bchw))
        )


@dataclass(frozen=True)
class DenoiserTask:
    """Crops, and their label maps; some of them without labels."""

    config: TrainConfig

    def pair(
        self, crop: Sample, tone: Tone, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(target, condition) of one crop, channels last and first."""
        source = self.config.data
        condition = label_map(crop, source.classes or (), source.seg_classes or ())
        if rng.random() < self.config.label_dropout:
            condition = np.zeros_like(condition)
        return tone.encode(crop.image_hwc), condition


@dataclass(frozen=True)
class UpscalerTask:
    """Residuals between crops and what is left of them after shrinking; the enlarged small image as
    condition.
    """

    config: TrainConfig
    residual_deviation: dict[int, float]

    def pair(
        self, crop: Sample, tone: Tone, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(target, condition) of one crop."""
        factor = FACTORS[int(rng.integers(len(FACTORS)))]
        low = tone.encode(shrunk_and_enlarged(crop.image_hwc, factor))
        residual = (tone.encode(crop.image_hwc) - low) / np.float32(self.residual_deviation[factor])
        return residual, low.transpose(2, 0, 1)


Task = DenoiserTask | UpscalerTask


def make_batch(crops: CropSet, task: Task, numbers: Sequence[int], total: int) -> Batch:
    """These crops as a batch, or a worker's share of one; `total`: the size of the whole batch."""
    x0, conditions, times, noise = [], [], [], []
    for k in numbers:
        crop, tone, rng = crops.crop(k)
        target_hwc, condition_chw = task.pair(crop, tone, rng)
        x0.append(target_hwc.transpose(2, 0, 1))
        conditions.append(condition_chw)
        times.append((k % total + rng.random()) / total)
        noise.append(rng.standard_normal(x0[-1].shape, dtype=np.float32))
    stacked = [torch.from_numpy(np.stack(part)) for part in (x0, conditions, noise)]
    return Batch(stacked[0], stacked[1], torch.tensor(times, dtype=torch.float32), stacked[2])


def v_loss(net: nn.Module, batch: Batch, shift: float, clean: bool = False) -> Tensor:
    """Mean squared error of the predicted v = α ε − σ x; `clean`: of the clean image that follows.

    An upscaler takes few steps from pure noise, and there the error of the clean image counts. That
    of v would be ruled by the lowest noise levels, which it hardly visits.
    """
    alpha, sigma = alpha_sigma(batch.t_b, shift)
    noised = alpha * batch.x0_bchw + sigma * batch.noise_bchw
    v = alpha * batch.noise_bchw - sigma * batch.x0_bchw
    error = net(noised, batch.t_b, batch.condition_bchw).float() - v
    return torch.mean((error * sigma if clean else error) ** 2)


def measure_residuals(crops: CropSet, samples: int = 64) -> dict[int, float]:
    """The standard deviation of the upscaler's target per factor, over the first crops."""
    found: dict[int, float] = {}
    for factor in FACTORS:
        squares = []
        for k in range(samples):
            crop, tone, _ = crops.crop(k)
            low = tone.encode(shrunk_and_enlarged(crop.image_hwc, factor))
            squares.append(float(np.mean((tone.encode(crop.image_hwc) - low) ** 2)))
        found[factor] = float(np.sqrt(np.mean(squares)))
    return found
