"""Tiny native models with random weights, saved to disk and loaded by the real code."""

from __future__ import annotations

from pathlib import Path

import torch

from pipeline.diffusion.native import (
    DenoiserConfig,
    NativeNet,
    UpscalerConfig,
    build,
    load_native,
    save_native,
)
from pipeline.diffusion.network import NetConfig
from pipeline.models import describe
from schemas.recipe import NativeModel

TINY_NET = NetConfig(patch=2, widths=(16, 32), blocks=1)


def tiny_denoiser(
    folder: Path,
    classes: tuple[str, ...] = ("RBC", "WBC"),
    seg_classes: tuple[str, ...] = (),
    seed: int = 0,
) -> NativeNet:
    """A denoiser of these classes, through a folder on disk."""
    config = DenoiserConfig(
        net=TINY_NET, shift=2.0, curve="linear", classes=classes, seg_classes=seg_classes
    )
    return _through_disk(folder, config, seed)


def tiny_upscaler(folder: Path, seed: int = 0) -> NativeNet:
    """An upscaler, through a folder on disk."""
    config = UpscalerConfig(
        net=TINY_NET, shift=1.0, curve="linear", residual_deviation={2: 0.1, 4: 0.2}
    )
    return _through_disk(folder, config, seed)


def _through_disk(folder: Path, config: DenoiserConfig | UpscalerConfig, seed: int) -> NativeNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        save_native(folder, config, build(config).state_dict())
    spec = NativeModel(native=str(folder))
    return load_native(spec, describe(spec).digest, "cpu")
