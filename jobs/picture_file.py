"""Pictures that a command leaves here: whether they can be written is known before the work."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from PIL.Image import Image

from pipeline.storage.trouble import storage_error
from schemas.errors import RecipeError, SinkError

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp")


def check_picture(path: Path) -> Path:
    """The path of a picture that can be written; RecipeError where it is none."""
    if path.is_dir():
        raise RecipeError(f"{path}: a folder; name the picture: {path / 'preview.png'}")
    if path.suffix.lower() not in SUFFIXES:
        raise RecipeError(f"{path}: its name must end with {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise RecipeError(f"{path}: there is no folder {path.parent}")
    return path


def save_picture(picture: Image, path: Path) -> None:
    """Writes it; a full or a locked disk is an error with a message."""
    try:
        picture.save(path)
    except OSError as error:
        raise storage_error(error, str(path), SinkError) from error
