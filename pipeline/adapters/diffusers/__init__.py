"""Pipelines of diffusers: painters of many families, and the diffusion upscalers."""

from __future__ import annotations

from pipeline.model import Model, ModelCard
from schemas.models import DiffusersModel


def describe(spec: DiffusersModel) -> ModelCard:
    """What this pipeline is and can do. Raises ModelError, in one line, where it cannot be used."""
    from pipeline.adapters.diffusers.card import card_of

    return card_of(spec)


def load(spec: DiffusersModel, device: str, long_run: bool) -> Model:
    """The pipeline on this device; on a GPU with the batch size that its memory holds."""
    card = describe(spec)
    if "upscale" in card.does:
        from pipeline.adapters.diffusers.upscaler import load_upscaler

        return load_upscaler(spec, card.digest, device)
    return load_painter(spec, card.digest, device, long_run)


def load_painter(spec: DiffusersModel, digest: str, device: str, long_run: bool) -> Model:
    """A painter; the networks are compiled once the batch size is known."""
    from pipeline.adapters.diffusers.loading import compiles
    from pipeline.adapters.diffusers.loading import load as load_pipelines
    from pipeline.adapters.diffusers.painter import CPU_IMAGES, DiffusersPainter
    from pipeline.adapters.diffusers.probe import images_that_fit

    loaded = load_pipelines(spec, device)
    fitting = CPU_IMAGES
    if loaded.device.type == "cuda":
        fitting = images_that_fit(DiffusersPainter(loaded, digest))
    if compiles(spec, device, long_run):
        loaded.windows.compile()
    return DiffusersPainter(loaded, digest, fitting)
