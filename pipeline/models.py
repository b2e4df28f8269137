"""What a recipe's `models:` become: described cheaply before a run, loaded once per actor in it.

`describe` reads files and imports no torch, so that a dry run stays fast and a mistake is found
before anything starts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from schemas.errors import ModelError
from schemas.recipe import NativeModel

if TYPE_CHECKING:
    from pipeline.op import Model

VAE_WEIGHTS = "diffusion_pytorch_model.safetensors"
"""Of a latent denoiser's autoencoder, in the folder `vae` of the model."""


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model without loading it."""

    digest: str
    does: frozenset[str]
    classes: tuple[str, ...]
    seg_classes: tuple[str, ...]


def describe(spec: NativeModel) -> ModelCard:
    """Digest and abilities of a model. Raises ModelError where the folder is not one."""
    folder = Path(spec.native)
    config_file, weights_file = folder / "config.json", folder / "model.safetensors"
    for path in (config_file, weights_file):
        if not path.is_file():
            raise ModelError(
                f"{path.absolute()}: no such file; "
                "a native model is a folder made by `noiseloom train`"
            )
    config = _read_config(config_file)
    files = [config_file, weights_file]
    if config.latent is not None:
        files += [folder / "vae" / name for name in ("config.json", VAE_WEIGHTS)]
    return ModelCard(_digest(files), frozenset({config.does}), config.classes, config.seg_classes)


class _Config(BaseModel):
    """What every native model's configuration says, whatever else it holds."""

    does: str
    classes: tuple[str, ...] = ()
    seg_classes: tuple[str, ...] = ()
    latent: object = None


def _read_config(path: Path) -> _Config:
    try:
        return _Config.model_validate_json(path.read_bytes())
    except ValidationError:
        raise ModelError(f"{path}: not the configuration of a native model") from None


def _digest(files: Sequence[Path]) -> str:
    hashed = hashlib.blake2b(digest_size=8)
    for path in files:
        if not path.is_file():
            raise ModelError(f"{path.absolute()}: no such file; the model folder is not complete")
        with path.open("rb") as file:  # an autoencoder has 300 MB
            while part := file.read(2**24):
                hashed.update(part)
    return hashed.hexdigest()


def load_models(specs: Mapping[str, NativeModel], device: str) -> dict[str, Model]:
    """Every model of a recipe, on this device."""
    from pipeline.diffusion.native import load_native  # torch and diffusers take seconds to import

    return {name: load_native(spec, describe(spec).digest, device) for name, spec in specs.items()}
