"""Being written."""

from __future__ import annotations

from pipeline.model import Model, ModelCard
from schemas.errors import ModelError
from schemas.models import OnnxModel


def describe(spec: OnnxModel) -> ModelCard:
    """The card."""
    raise ModelError("not yet")


def load(spec: OnnxModel, device: str, long_run: bool) -> Model:
    """The model."""
    raise ModelError("not yet")
