"""Networks that spandrel knows by their weights: for super-resolution, and LaMa and MAT for holes.

    upscaler: {spandrel: weights/RealESRGAN_x2plus.safetensors}
    filler:   {spandrel: weights/big-lama.safetensors}

A network enlarges by the factor that it was made for, and by no other. One that restores (removes
noise, haze, compression) or is made for faces does no job here, and is refused by name; so is one
that draws noise of its own, which no seed of a sample reaches.

A filler can "inpaint" and no more: it makes a hole look like what is around it, whatever the labels
say. To describe a network its weights are read, which takes as long as loading it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.adapters.files import digest_of_files
from pipeline.adapters.spandrel.reading import read_network
from pipeline.model import Model, ModelCard
from schemas.errors import ModelError
from schemas.models import SpandrelModel

if TYPE_CHECKING:
    from spandrel import ModelDescriptor

NOISY: Final = frozenset({"AuraSR"})
"""Architectures that draw from torch's global generator at every call."""


def describe(spec: SpandrelModel) -> ModelCard:
    """What the network in the file is, and can do."""
    return _card(spec, _read(spec))


def load(spec: SpandrelModel, device: str, long_run: bool) -> Model:
    """The network on this device."""
    from spandrel import ImageModelDescriptor

    from pipeline.adapters.spandrel.painter import SpandrelPainter
    from pipeline.adapters.spandrel.upscaler import SpandrelUpscaler

    network = _read(spec)
    digest = _card(spec, network).digest
    if isinstance(network, ImageModelDescriptor):
        return SpandrelUpscaler(network, digest, device, spec.tile)
    return SpandrelPainter(network, digest, device, spec.tile)


def _read(spec: SpandrelModel) -> ModelDescriptor:
    """The network, if it is one that can do a job."""
    path = Path(spec.spandrel)
    network = read_network(path)
    problem = _unfit(network) or _unfit_tile(network, spec.tile)
    if problem:
        raise ModelError(f"{path}: {problem}")
    return network


def _card(spec: SpandrelModel, network: ModelDescriptor) -> ModelCard:
    digest = digest_of_files([Path(spec.spandrel)])
    name = network.architecture.name
    if network.purpose == "Inpainting":
        return ModelCard(digest, frozenset({"inpaint"}), about=f"{name}, spandrel")
    return ModelCard(
        digest,
        frozenset({"upscale"}),
        scales=frozenset({network.scale}),
        about=f"{name} x{network.scale}, spandrel",
    )


def _unfit(network: ModelDescriptor) -> str:
    """Why a network can do nothing here; empty if it can."""
    name = network.architecture.name
    channels = (network.input_channels, network.output_channels)
    if network.purpose == "FaceSR":
        return f"{name} is made for faces; super-resolution needs a network for any image"
    if network.purpose != "Inpainting" and network.scale == 1:
        return f"{name} restores images and enlarges none; it does no job here"
    if network.architecture.id in NOISY:
        return f"{name} draws noise of its own, so that no sample could be made again"
    if channels != (3, 3) and (network.purpose == "Inpainting" or channels != (1, 1)):
        return f"{name} takes {channels[0]} channels and gives {channels[1]}; images have 3"
    return ""


def _unfit_tile(network: ModelDescriptor, tile: int | None) -> str:
    """Why tiles of this side are not for the network; empty if they are."""
    sizes = network.size_requirements
    if tile is None or (sizes.check(tile, tile) and (not sizes.square or tile == sizes.minimum)):
        return ""
    legal = f"{sizes.minimum} alone" if sizes.square else f"multiples of {sizes.multiple_of}"
    if not sizes.square and sizes.minimum:
        legal += f" from {sizes.minimum} on"
    return f"tile: {tile} is not for {network.architecture.name}, which takes {legal}"
