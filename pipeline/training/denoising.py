"""What a denoiser learns: one batch of crops to one loss.

It predicts v by mean squared error. The times of a batch are stratified, (i + u) / b: every batch
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
from pipeline.diffusion.native import DenoiserConfig, NativeNet, build
from pipeline.diffusion.network import NetConfig, PatchUNet
from pipeline.diffusion.schedule import alpha_sigma
from pipeline.diffusion.tone import Tone
from pipeline.training.config import DenoiserTraining, TrainConfig
from pipeline.training.crops import CropSet
from pipeline.training.gallery import Grid, denoiser_grid
from schemas.sample import Sample

Weights = dict[str, Tensor]


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


class DenoiserTask:
    """Crops, and their label maps; some of them without labels."""

    def __init__(self, config: TrainConfig, crops: CropSet) -> None:
        assert isinstance(config, DenoiserTraining)
        self.config = config
        self.model_config = DenoiserConfig(
            net=NetConfig.model_validate(config.net.model_dump()),
            shift=config.shift,
            curve=config.curve,
            classes=config.data.classes or (),
            seg_classes=config.data.seg_classes or (),
        )

    def build(self) -> PatchUNet:
        """The network, freshly initialised from torch's global generator."""
        return build(self.model_config)

    def loss(
        self,
        net: nn.Module,
        crops: CropSet,
        numbers: Sequence[int],
        total: int,
        device: torch.device,
    ) -> Tensor:
        """The loss of v over these crops, a share of a batch of `total`."""
        batch = make_batch(crops, self, numbers, total).to(device)
        return v_loss(net, batch, self.config.shift)

    def picture(self, weights: Weights, samples: Sequence[Sample], device: str) -> Grid:
        """What the model with these weights makes of some samples."""
        net = self.build()
        net.load_state_dict(weights)
        return denoiser_grid(NativeNet(self.model_config, net, "in training", device), samples)

    def pair(
        self, crop: Sample, tone: Tone, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(target, condition) of one crop, channels last and first."""
        source = self.config.data
        condition = label_map(crop, source.classes or (), source.seg_classes or ())
        if rng.random() < self.config.label_dropout:
            condition = np.zeros_like(condition)
        return tone.encode(crop.image_hwc), condition


def make_batch(crops: CropSet, task: DenoiserTask, numbers: Sequence[int], total: int) -> Batch:
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


def v_loss(net: nn.Module, batch: Batch, shift: float) -> Tensor:
    """Mean squared error of the predicted v = α ε − σ x."""
    alpha, sigma = alpha_sigma(batch.t_b, shift)
    noised = alpha * batch.x0_bchw + sigma * batch.noise_bchw
    v = alpha * batch.noise_bchw - sigma * batch.x0_bchw
    error = net(noised, batch.t_b, batch.condition_bchw).float() - v
    return torch.mean(error**2)
