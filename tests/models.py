"""Tiny native models with random weights, saved to disk and loaded by the real code."""

from __future__ import annotations

from pathlib import Path

import torch

from pipeline.diffusion.config import DenoiserConfig, UpscalerConfig
from pipeline.diffusion.folder import write_model
from pipeline.diffusion.native import NativeNet, NativeUpscaler, build, load_native
from pipeline.diffusion.network import NetConfig
from pipeline.diffusion.upscaler import UpscalerNet, UpscalerNetConfig
from pipeline.models import describe
from schemas.models import NativeModel

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
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        write_model(folder, config, build(config).state_dict())
    loaded = _loaded(folder)
    assert isinstance(loaded, NativeNet)
    return loaded


def tiny_upscaler(folder: Path, seed: int = 0) -> NativeUpscaler:
    """An upscaler that adds some noise, through a folder on disk."""
    config = UpscalerConfig(net=UpscalerNetConfig(width=8, blocks=1))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = UpscalerNet(config.net)
        for tail in net.tails.values():
            torch.nn.init.normal_(tail.weight, std=0.01)  # fresh ones give zeros
        write_model(folder, config, net.state_dict())
    loaded = _loaded(folder)
    assert isinstance(loaded, NativeUpscaler)
    return loaded


def _loaded(folder: Path) -> NativeNet | NativeUpscaler:
    spec = NativeModel(native=str(folder))
    return load_native(spec, describe(spec).digest, "cpu")
