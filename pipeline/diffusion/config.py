"""What our own diffusion models are: the `config.json` of a denoiser and of an upscaler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from pipeline.diffusion.folder import CONFIG_FILE
from pipeline.diffusion.label_map import channels
from pipeline.diffusion.latent import LatentSpace
from pipeline.diffusion.network import NetConfig
from pipeline.diffusion.tone import Curve
from pipeline.diffusion.upscaler import UpscalerNetConfig
from schemas.errors import ModelError
from schemas.spec import Spec


class DenoiserConfig(Spec):
    """What a denoiser is: its network, its schedule, and the classes of its label map in order;
    with `latent`, it works on what the autoencoder in the folder `vae` makes of an image.
    """

    does: Literal["denoise"] = "denoise"
    net: NetConfig
    shift: float = Field(gt=0)
    curve: Curve
    classes: tuple[str, ...]
    seg_classes: tuple[str, ...]
    latent: LatentSpace | None = None

    @property
    def multiple(self) -> int:
        """Image sides must be multiples of this."""
        return self.net.multiple * (self.latent.factor if self.latent else 1)

    @property
    def image_channels(self) -> int:
        """Of what is noised and denoised."""
        return self.latent.channels if self.latent else 3

    @property
    def condition_channels(self) -> int:
        """Of the label map."""
        return channels(self.classes, self.seg_classes)


class UpscalerConfig(Spec):
    """What an upscaler is."""

    does: Literal["upscale"] = "upscale"
    net: UpscalerNetConfig


NativeConfig = Annotated[DenoiserConfig | UpscalerConfig, Field(discriminator="does")]
_CONFIG: TypeAdapter[DenoiserConfig | UpscalerConfig] = TypeAdapter(NativeConfig)


def read_config(folder: Path) -> DenoiserConfig | UpscalerConfig:
    """The configuration in a model folder. Raises ModelError with the file and the first thing
    wrong in it.
    """
    path = folder / CONFIG_FILE
    try:
        return _CONFIG.validate_python(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise ModelError(
            f"{path}: no such file; a native model is a folder made by `noiseloom train`"
        ) from None
    except (ValidationError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a native model's configuration: {error}") from None
