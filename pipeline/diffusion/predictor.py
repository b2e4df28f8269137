"""What repainting, fitting and enlarging ask of a network: the part of a model under its jobs."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from pipeline.diffusion.config import DenoiserConfig
from pipeline.diffusion.latent import Latents


class Predictor(Protocol):
    """A denoising network in its place: `latents` where it works on those of an autoencoder."""

    config: DenoiserConfig
    latents: Latents | None
    device: torch.device

    def predict(self, x_bchw: Tensor, t_b: Tensor, condition_bchw: Tensor) -> Tensor:
        """v, float32, of x's shape."""


class Enlarger(Protocol):
    """An upscaling network in its place."""

    device: torch.device

    def residual(self, small_bchw: Tensor, factor: int) -> Tensor:
        """What bicubic misses, float32 on the CPU, (b, 3, factor h, factor w)."""
