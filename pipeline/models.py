"""What a recipe's `models:` become: described cheaply before a run, loaded once per actor in it.

The kinds are in `schemas/models.py`, an adapter for each in `pipeline/adapters`. Describing finds a
mistake before anything starts; a run with native models alone then imports no torch for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, assert_never

from pipeline.model import Model, ModelCard
from schemas.models import (
    AnyModel,
    DiffusersModel,
    NativeModel,
    OnnxModel,
    SpandrelModel,
    TorchvisionModel,
)

LONG_RUN: Final = 2000
"""Copies from which on compiling a network, minutes for each actor, is worth it."""


def describe(spec: AnyModel) -> ModelCard:
    """What a model is and can do. Raises ModelError, in one line, where it is none."""
    match spec:
        case NativeModel():
            from pipeline.adapters import native

            return native.describe(spec)
        case DiffusersModel():
            from pipeline.adapters import diffusers

            return diffusers.describe(spec)
        case SpandrelModel():
            from pipeline.adapters import spandrel

            return spandrel.describe(spec)
        case OnnxModel():
            from pipeline.adapters import onnx

            return onnx.describe(spec)
        case TorchvisionModel():
            from pipeline.adapters import torchvision

            return torchvision.describe(spec)
        case _:
            assert_never(spec)


def load_models(specs: Mapping[str, AnyModel], device: str, attempts: int = 0) -> dict[str, Model]:
    """Every model of a recipe, on this device. `attempts`: copies in the whole run, however many of
    them are left or asked for: compiled networks give other last bits, so that a resumed run and a
    replay must decide as the run did.
    """
    return {name: _load(spec, device, is_long(attempts)) for name, spec in specs.items()}


def is_long(attempts: int) -> bool:
    """Whether a run of so many copies compiles its networks."""
    return attempts >= LONG_RUN


def _load(spec: AnyModel, device: str, long_run: bool) -> Model:
    match spec:
        case NativeModel():
            from pipeline.adapters import native

            return native.load(spec, device, long_run)
        case DiffusersModel():
            from pipeline.adapters import diffusers

            return diffusers.load(spec, device, long_run)
        case SpandrelModel():
            from pipeline.adapters import spandrel

            return spandrel.load(spec, device, long_run)
        case OnnxModel():
            from pipeline.adapters import onnx

            return onnx.load(spec, device, long_run)
        case TorchvisionModel():
            from pipeline.adapters import torchvision

            return torchvision.load(spec, device, long_run)
        case _:
            assert_never(spec)
