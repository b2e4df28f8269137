"""Being written."""

from __future__ import annotations

from pathlib import Path

from pipeline.model import Upscaler
from schemas.errors import ModelError
from schemas.models import DiffusersModel


def load_upscaler(spec: DiffusersModel, folder: Path, device: str, long_run: bool) -> Upscaler:
    """The upscaler."""
    raise ModelError("not yet")
