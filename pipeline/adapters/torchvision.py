"""Being written."""

from __future__ import annotations

from pipeline.model import Model, ModelCard
from schemas.errors import ModelError
from schemas.models import TorchvisionModel


def describe(spec: TorchvisionModel) -> ModelCard:
    """The card."""
    raise ModelError("not yet")


def load(spec: TorchvisionModel, device: str, long_run: bool) -> Model:
    """The model."""
    raise ModelError("not yet")
