"""Files of models: their digests, and what is refused because it could run code."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from safetensors import SafetensorError, safe_open

from schemas.errors import ModelError

PICKLES: Final = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".npy", ".npz")
"""Names of files that a library may unpickle, which runs what is in them."""


def digest_of_files(files: Sequence[Path]) -> str:
    """16 hex digits of BLAKE2b over the files' bytes, in this order; ModelError where one is
    missing.
    """
    hashed = hashlib.blake2b(digest_size=8)
    for path in files:
        if not path.is_file():
            raise ModelError(f"{path.absolute()}: no such file; the model folder is not complete")
        with path.open("rb") as file:  # weights have gigabytes
            while part := file.read(2**24):
                hashed.update(part)
    return hashed.hexdigest()


def check_safetensors(path: Path, what: str) -> None:
    """ModelError where the file is missing, or is not safetensors: a pickle is refused by name."""
    if path.suffix.lower() in PICKLES:
        raise ModelError(
            f"{path}: {path.suffix} files are pickles, which run code when they are read; "
            f"{what} must be .safetensors (safetensors.torch.save_file writes them)"
        )
    if path.suffix.lower() != ".safetensors":
        raise ModelError(f"{path}: {what} must be a .safetensors file")
    if not path.is_file():
        raise ModelError(f"{path.absolute()}: no such file")
    with path.open("rb") as file:
        head = file.read(9)
    if len(head) < 9 or head[8:9] != b"{":
        raise ModelError(f"{path}: is called .safetensors and is none; {what} must be one")
    try:
        with safe_open(path, framework="numpy"):  # reads the header, and compares the sizes
            pass
    except SafetensorError as error:
        raise ModelError(
            f"{path}: {what} are not safetensors, or damaged: {error}; copy the file again"
        ) from None
