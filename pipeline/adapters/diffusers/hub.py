"""Being written."""

from __future__ import annotations

from pathlib import Path


def folder_of(repo: str, revision: str | None, what: str) -> Path:
    """The local folder of a model."""
    return Path(repo)
