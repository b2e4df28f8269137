"""Tiny networks of spandrel's architectures with random weights, saved as their makers save them.

LaMa and MAT come in one size only, 51 and 62 million weights: here they are built by the same code
with fewer channels and blocks, and so must be loaded within `small_fillers`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pipeline.adapters.spandrel.reading import quiet


def saved(path: Path, make: Callable[[], nn.Module]) -> Path:
    """The file, with the weights of what `make` makes."""
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(0)
        net = make()
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, path)
    return path


def esrgan(scale: int = 4, channels: int = 3) -> nn.Module:
    from spandrel.architectures.ESRGAN import ESRGAN

    net: nn.Module = ESRGAN(
        num_filters=8, num_blocks=1, scale=scale, in_nc=channels, out_nc=channels
    )
    return net


def compact(scale: int = 2, channels: int = 3) -> nn.Module:
    """Sees 4 pixels far: its four convolutions."""
    from spandrel.architectures.Compact import Compact

    net: nn.Module = Compact(
        num_in_ch=channels, num_out_ch=channels, num_feat=8, num_conv=2, upscale=scale
    )
    return net


def real_plksr(scale: int = 2) -> nn.Module:
    from spandrel.architectures.PLKSR import RealPLKSR

    net: nn.Module = RealPLKSR(dim=16, n_blocks=1, upscaling_factor=scale, kernel_size=5)
    return net


def swinir(scale: int = 2) -> nn.Module:
    from spandrel.architectures.SwinIR import SwinIR

    net: nn.Module = SwinIR(
        img_size=8,
        window_size=8,
        embed_dim=12,
        depths=[1],
        num_heads=[2],
        upscale=scale,
        upsampler="pixelshuffledirect",
        mlp_ratio=2,
    )
    return net


def lama() -> nn.Module:
    from spandrel.architectures.LaMa import LaMa

    net: nn.Module = LaMa(in_nc=4, out_nc=3)
    return net


def mat() -> nn.Module:
    net: nn.Module = _mat_module().MAT()
    return net


def small_fillers(patch: pytest.MonkeyPatch) -> None:
    """LaMa and MAT of a twentieth of their weights, as long as the patch lasts."""
    from spandrel.architectures.LaMa import LaMa

    code = sys.modules[LaMa.__module__]
    _default(patch, code.FFCResNetGenerator.__init__, ngf=8, n_blocks=1)
    code = _mat_module()
    patch.setattr(code, "nf", lambda stage, *_: 16)
    _default(patch, code.FirstStage.__init__, dim=12)


def _mat_module() -> Any:
    with quiet():
        from spandrel_extra_arches.architectures.MAT import MAT

    return sys.modules[MAT.__module__]


def _default(patch: pytest.MonkeyPatch, function: Any, **new: object) -> None:
    """Other defaults for a function's parameters."""
    parameters = inspect.signature(function).parameters.values()
    defaults = [p for p in parameters if p.default is not inspect.Parameter.empty]
    patch.setattr(function, "__defaults__", tuple(new.get(p.name, p.default) for p in defaults))
