"""What a denoiser learns: one batch of crops to one loss.

It predicts v by mean squared error, weighted per noise level (see `pipeline.training.config`). The
times of a batch are stratified, (i + u) / b: every batch sees all noise levels, and the loss varies
less from batch to batch (Kingma et al. 2021, app. I.1).

In latent mode crops go through the autoencoder here, as they are in their batch; the noise is drawn
on the grid of the latents, and label maps are averaged over its cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from pipeline.diffusion.config import DenoiserConfig
from pipeline.diffusion.folder import write_model
from pipeline.diffusion.label_map import channels, label_map
from pipeline.diffusion.latent import Latents, copy_vae, load_latents, unit_tone
from pipeline.diffusion.native import NativeNet, build
from pipeline.diffusion.network import NetConfig, PatchUNet
from pipeline.diffusion.schedule import alpha_sigma
from pipeline.diffusion.tone import Tone
from pipeline.training.config import DenoiserTraining, TrainConfig
from pipeline.training.gallery import Grid, denoiser_grid
from pipeline.training.mixed import AnyCrops
from pipeline.training.state import Validation, Weights
from schemas.sample import Sample

CPU = torch.device("cpu")
LEVELS = 8
"""Noise levels that validation tells apart: t in [0, 1/8), [1/8, 2/8), ..."""
VALIDATION_CROPS, VALIDATION_BATCH = 64, 16


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

    def __init__(self, config: TrainConfig, crops: AnyCrops, device: torch.device = CPU) -> None:
        assert isinstance(config, DenoiserTraining)
        self.config = config
        self.latents: Latents | None = None
        space = None
        if config.latent is not None:
            self.latents = load_latents(Path(config.latent.vae), device)
            drawn = (crops.crop(k) for k in range(VALIDATION_CROPS))
            space = self.latents.measure((crop.image_hwc, tone) for crop, tone, _ in drawn)
        self.model_config = DenoiserConfig(
            net=NetConfig.model_validate(config.net.model_dump()),
            shift=config.shift,
            curve=config.curve,
            classes=config.data.classes or (),
            seg_classes=config.data.seg_classes or (),
            latent=space,
        )

    def build(self) -> PatchUNet:
        """The network, freshly initialised from torch's global generator."""
        return build(self.model_config)

    def loss(
        self,
        net: nn.Module,
        crops: AnyCrops,
        numbers: Sequence[int],
        total: int,
        device: torch.device,
    ) -> Tensor:
        """The weighted loss of v over these crops, a share of a batch of `total`."""
        batch = self.batch(crops, numbers, total, device)
        return v_loss(net, batch, self.config.shift, self.weights(batch.t_b))

    def batch(
        self, crops: AnyCrops, numbers: Sequence[int], total: int, device: torch.device
    ) -> Batch:
        """These crops as the network sees them, on a device."""
        batch = make_batch(crops, self, numbers, total).to(device)
        if self.latents is None:
            return batch
        return replace(
            batch,
            x0_bchw=self.latents.encode(batch.x0_bchw, self.model_config.latent),
            condition_bchw=avg_pool2d(batch.condition_bchw, self.latents.factor),
        )

    def weights(self, t_b: Tensor) -> Tensor:
        """How much each of these times counts."""
        if self.config.weighting == "none":
            return torch.ones_like(t_b)
        return min_snr(t_b, self.config.shift, self.config.gamma)

    def validation(self, net: nn.Module, crops: AnyCrops, device: torch.device) -> Validation:
        """The loss as it is trained, and the plain error of v per noise level."""
        errors, times = [], []
        for first in range(0, VALIDATION_CROPS, VALIDATION_BATCH):
            numbers = range(first, first + VALIDATION_BATCH)
            batch = self.batch(crops, numbers, VALIDATION_CROPS, device)
            errors.append(v_errors(net, batch, self.config.shift))
            times.append(batch.t_b)
        error_b, t_b = torch.cat(errors), torch.cat(times)
        level_b = (t_b * LEVELS).long().clamp(max=LEVELS - 1)
        levels = [float(error_b[level_b == level].mean()) for level in range(LEVELS)]
        return Validation(float((error_b * self.weights(t_b)).mean()), tuple(levels))

    def save(self, folder: Path, weights: Weights) -> None:
        """Writes the model folder."""
        if self.config.latent is not None:
            copy_vae(Path(self.config.latent.vae), folder)
        write_model(folder, self.model_config, weights)

    def picture(self, weights: Weights, samples: Sequence[Sample], device: str) -> Grid:
        """What the model with these weights makes of some samples."""
        net = self.build()
        net.load_state_dict(weights)
        model = NativeNet(self.model_config, net, "in training", device, self.latents)
        return denoiser_grid(model, samples)

    def pair(
        self, crop: Sample, tone: Tone, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(target, condition) of one crop, channels last and first."""
        dropped = rng.random() < self.config.label_dropout
        if dropped or (crop.instances is None and crop.class_map_hw is None):
            condition = self.no_labels(crop)
        else:
            source = self.config.data
            condition = label_map(crop, source.classes or (), source.seg_classes or ())
        if self.latents is not None:
            tone = unit_tone(tone)
        return tone.encode(crop.image_hwc), condition

    def no_labels(self, crop: Sample) -> NDArray[np.float32]:
        """The condition that says nothing, (channels, h, w)."""
        many = channels(self.config.data.classes or (), self.config.data.seg_classes or ())
        return np.zeros((many, crop.height, crop.width), np.float32)

    def noise_shape(self, target_hwc: NDArray[np.float32]) -> tuple[int, int, int]:
        """(channels, height, width) of what noise is added to."""
        height, width, channels = target_hwc.shape
        if self.latents is None:
            return channels, height, width
        factor = self.latents.factor
        return self.latents.channels, height // factor, width // factor


def make_batch(crops: AnyCrops, task: DenoiserTask, numbers: Sequence[int], total: int) -> Batch:
    """These crops as a batch, or a worker's share of one; `total`: the size of the whole batch."""
    x0, conditions, times, noise = [], [], [], []
    for k in numbers:
        crop, tone, rng = crops.crop(k)
        target_hwc, condition_chw = task.pair(crop, tone, rng)
        x0.append(target_hwc.transpose(2, 0, 1))
        conditions.append(condition_chw)
        times.append((k % total + rng.random()) / total)
        noise.append(rng.standard_normal(task.noise_shape(target_hwc), dtype=np.float32))
    stacked = [torch.from_numpy(np.stack(part)) for part in (x0, conditions, noise)]
    return Batch(stacked[0], stacked[1], torch.tensor(times, dtype=torch.float32), stacked[2])


def v_errors(net: nn.Module, batch: Batch, shift: float) -> Tensor:
    """Mean squared error of the predicted v = α ε − σ x, per crop."""
    alpha, sigma = alpha_sigma(batch.t_b, shift)
    noised = alpha * batch.x0_bchw + sigma * batch.noise_bchw
    v = alpha * batch.noise_bchw - sigma * batch.x0_bchw
    error = net(noised, batch.t_b, batch.condition_bchw).float() - v
    return torch.mean(error**2, dim=(1, 2, 3))


def v_loss(net: nn.Module, batch: Batch, shift: float, weights_b: Tensor | None = None) -> Tensor:
    """The mean of those errors, weighted. The weights are not brought to a mean of 1: what a crop
    adds to the loss must not depend on its batch.
    """
    errors = v_errors(net, batch, shift)
    return torch.mean(errors if weights_b is None else errors * weights_b)


def min_snr(t_b: Tensor, shift: float, gamma: float) -> Tensor:
    """min(SNR, γ) / (SNR + 1): Hang et al. 2023, sec. 3.4, for a network that predicts v."""
    alpha, sigma = (part.flatten() for part in alpha_sigma(t_b, shift))
    # SNR = (α/σ)² and α² + σ² = 1: multiplied by σ², nothing is divided by 0 at t = 0
    return torch.minimum(alpha**2, gamma * sigma**2)
