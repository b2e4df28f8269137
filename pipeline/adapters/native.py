"""Our own networks: a folder with `config.json` and `model.safetensors`, made by `noiseloom train`.

`describe` imports no torch, so that a dry run stays fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ValidationError

from pipeline.adapters.files import check_safetensors, digest_of_files
from pipeline.diffusion.folder import CONFIG_FILE, VAE_FILES, VAE_FOLDER, WEIGHTS_FILE
from pipeline.model import Job, Model, ModelCard
from schemas.errors import ModelError
from schemas.models import NativeModel

if TYPE_CHECKING:
    from collections.abc import Mapping

DOES: Final[Mapping[str, frozenset[Job]]] = {
    "denoise": frozenset({"denoise", "inpaint", "redraw", "synthesize", "fit"}),
    "upscale": frozenset({"upscale"}),
    "detect": frozenset({"detect"}),
}
"""What each kind of network can do: a label-conditioned denoiser does all that a painter does, and
tells whether an image fits its labels."""


class _Config(BaseModel):
    """What every native model's configuration says, whatever else it holds."""

    does: str
    classes: tuple[str, ...] = ()
    seg_classes: tuple[str, ...] = ()
    latent: object = None


def describe(spec: NativeModel) -> ModelCard:
    """Digest and abilities of a model. Raises ModelError where the folder is not one."""
    folder = Path(spec.native)
    config_file, weights_file = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    for path in (config_file, weights_file):
        if not path.is_file():
            raise ModelError(
                f"{path.absolute()}: no such file; "
                "a native model is a folder made by `noiseloom train`"
            )
    check_safetensors(weights_file, "the weights")
    config = _read_config(config_file)
    files = [config_file, weights_file]
    if config.latent is not None:
        files += [folder / VAE_FOLDER / name for name in VAE_FILES]
    scales = frozenset({2, 4}) if config.does == "upscale" else None
    does = DOES[config.does]
    if not config.classes and not config.seg_classes:
        does -= {"fit"}  # trained without labels: all annotations are one to it
    return ModelCard(
        digest_of_files(files),
        does,
        config.classes,
        config.seg_classes,
        scales=scales,
        about=spec.native,
    )


def _read_config(path: Path) -> _Config:
    try:
        config = _Config.model_validate_json(path.read_bytes())
    except ValidationError:
        raise ModelError(f"{path}: not the configuration of a native model") from None
    if config.does not in DOES:
        raise ModelError(f"{path}: does {config.does!r}, which this version does not know")
    return config


def load(spec: NativeModel, device: str, long_run: bool) -> Model:
    """The network on this device."""
    from pipeline.detection.detector import load_detector
    from pipeline.diffusion.native import load_native

    card = describe(spec)
    if "detect" in card.does:
        return load_detector(Path(spec.native), device)
    return load_native(spec, card.digest, device)
