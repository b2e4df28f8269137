"""Latent mode: a denoiser that works on what a diffusers `AutoencoderKL` makes of the image.

For large images: a position of the network is then 8 pixels wide, with the texture in the
autoencoder's hands. The price is the autoencoder's own error, also at strength 0, inside the mask;
outside it the image is put back bit for bit, as everywhere.

Images go in as the autoencoder was trained, from -1 to 1 (after the model's curve), gray ones as
three equal channels.
Encoding draws no noise: it takes the mode of the distribution (Kingma & Welling 2014), so that the
same image is always the same latents. These are brought to zero mean and unit deviation per channel
over the data set (as in EDM2, Karras et al. 2024), measured before the training and kept in
`config.json`: the autoencoder's own `scaling_factor` is one number for all channels, of other
images. Both ways run in float32, one image at a time: memory does not grow with the batch, and
pixels do not depend on the neighbours.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from pydantic import Field
from torch import Tensor

from pipeline.diffusion.folder import VAE_FILES, VAE_FOLDER
from pipeline.diffusion.tone import Tone
from schemas.errors import ModelError
from schemas.sample import ImageArray
from schemas.spec import Spec

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

TILE: Final = 1024
"""Pixels; larger images go through the autoencoder in overlapping, blended tiles of this side."""


class LatentSpace(Spec):
    """Latents of `channels`, `factor` times smaller a side than the image, and the data set's mean
    and deviation of each channel.
    """

    factor: int = Field(ge=1, le=64)
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @property
    def channels(self) -> int:
        """Of the latents."""
        return len(self.mean)


class Latents:
    """An autoencoder on a device."""

    def __init__(self, vae: AutoencoderKL, device: torch.device) -> None:
        self._vae = vae.to(device).eval().requires_grad_(False)
        self._device = device
        self.channels = int(vae.config.latent_channels)
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        vae.enable_tiling()
        vae.tile_sample_min_size, vae.tile_latent_min_size = TILE, TILE // self.factor

    def encode(self, values_bchw: Tensor, space: LatentSpace | None = None) -> Tensor:
        """Images from -1 to 1 to latents, (b, channels, h / factor, w / factor), in
        a space or as they are.
        """
        with torch.no_grad(), torch.autocast(self._device.type, enabled=False):
            parts = [
                self._vae.encode(image.to(self._device, torch.float32)).latent_dist.mode()
                for image in torch.split(values_bchw, 1)
            ]
        latents = torch.cat(parts)
        space = space or self._as_they_are()
        mean, deviation = _statistics(space, latents)
        return (latents - mean) / deviation

    def decode(self, latents_bchw: Tensor, space: LatentSpace | None) -> Tensor:
        """Latents of a space (or as they are) to images from -1 to 1, about."""
        mean, deviation = _statistics(space or self._as_they_are(), latents_bchw)
        with torch.no_grad(), torch.autocast(self._device.type, enabled=False):
            raw = latents_bchw.float() * deviation + mean
            return torch.cat([self._vae.decode(part).sample for part in torch.split(raw, 1)])

    def _as_they_are(self) -> LatentSpace:
        n = self.channels
        return LatentSpace(factor=self.factor, mean=(0.0,) * n, deviation=(1.0,) * n)

    def measure(self, images: Iterable[tuple[ImageArray, Tone]]) -> LatentSpace:
        """The space of these images: mean and deviation per channel over all of them."""
        values = (unit_tone(tone).encode(image_hwc) for image_hwc, tone in images)
        latents = torch.cat(
            [
                self.encode(torch.from_numpy(v.transpose(2, 0, 1)[None].copy())).flatten(2).cpu()
                for v in values
            ]
        ).transpose(0, 1)
        each = latents.reshape(len(latents), -1).double()
        return LatentSpace(
            factor=self.factor,
            mean=tuple(each.mean(1).tolist()),
            deviation=tuple(each.std(1).clamp(min=1e-3).tolist()),
        )


def _statistics(space: LatentSpace, like: Tensor) -> tuple[Tensor, Tensor]:
    mean, deviation = (
        torch.tensor(values, device=like.device, dtype=torch.float32).view(1, -1, 1, 1)
        for values in (space.mean, space.deviation)
    )
    return mean, deviation


def load_latents(folder: Path, device: torch.device) -> Latents:
    """The autoencoder in a folder: safetensors only, nothing is fetched, no code is run."""
    check_vae(folder)
    from diffusers import AutoencoderKL

    try:
        vae = AutoencoderKL.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False
        )
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{folder}: not an autoencoder that loads: {first}") from error
    return Latents(vae, device)


def check_vae(folder: Path) -> int:
    """How many pixels a latent is wide; ModelError where the folder is not an AutoencoderKL of
    color images.
    """
    for name in VAE_FILES:
        if not (folder / name).is_file():
            raise ModelError(
                f"{(folder / name).absolute()}: no such file; latent.vae names the folder of a "
                "diffusers AutoencoderKL, saved as safetensors"
            )
    try:
        config = json.loads((folder / VAE_FILES[0]).read_bytes())
        kind, inputs = config["_class_name"], config.get("in_channels", 3)
        levels = len(config["block_out_channels"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{folder / VAE_FILES[0]}: not an autoencoder's configuration") from None
    if kind != "AutoencoderKL" or inputs != 3 or config.get("out_channels", 3) != 3:
        raise ModelError(
            f"{folder}: is {kind} of {inputs} channels; it must be an AutoencoderKL of 3"
        )
    return int(2 ** (levels - 1))


def copy_vae(folder: Path, model_folder: Path) -> None:
    """Puts the autoencoder into a model folder, which then stands on its own."""
    target = model_folder / VAE_FOLDER
    target.mkdir(parents=True, exist_ok=True)
    for name in VAE_FILES:
        shutil.copyfile(folder / name, target / name)


def unit_tone(tone: Tone) -> Tone:
    """The tone, but from -1 to 1 as autoencoders are trained: gray and deep images come back as
    such.
    """
    return replace(tone, mean=0.5, deviation=0.5)
