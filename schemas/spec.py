"""The base of everything that a recipe holds."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """Base of everything in a recipe: frozen, and unknown keys are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
