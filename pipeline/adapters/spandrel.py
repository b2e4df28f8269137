"""Being written."""

from __future__ import annotations

from pipeline.model import Model, ModelCard
from schemas.errors import ModelError
from schemas.models import SpandrelModel


def describe(spec: SpandrelModel) -> ModelCard:
    """The card."""
    raise ModelError("not yet")


def load(spec: SpandrelModel, device: str, long_run: bool) -> Model:
    """The model."""
    raise ModelError("not yet")
