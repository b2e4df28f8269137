"""Being written."""

from __future__ import annotations

from pipeline.model import Model, ModelCard
from schemas.errors import ModelError
from schemas.models import DiffusersModel


def describe(spec: DiffusersModel) -> ModelCard:
    """The card."""
    raise ModelError("not yet")


def load(spec: DiffusersModel, device: str, long_run: bool) -> Model:
    """The model."""
    raise ModelError("not yet")
