"""The card of a diffusers model: everything that it is put together from, checked and pinned.

A repository is pinned by its commit, a local folder by the bytes of all that is loaded from it.
What the recipe says about the model is part of the digest, too, but for `offload`, which changes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.adapters.diffusers.families import jobs_of, misfit
from pipeline.adapters.diffusers.folder import (
    Component,
    check_component,
    components,
    files_of,
    pipeline_class,
    read_json,
    settings_of,
    weight_files,
)
from pipeline.adapters.diffusers.hub import Place, place_of
from pipeline.adapters.diffusers.lora import lora_file
from pipeline.adapters.diffusers.schedules import check_scheduler
from pipeline.adapters.diffusers.upscaler import check_upscaler, upscaler_scale
from pipeline.adapters.files import digest_of_files
from pipeline.model import Job, ModelCard
from schemas.errors import ModelError
from schemas.models import ControlNet, DiffusersModel, HubModel, Lora
from schemas.recipe import digest_of


def card_of(spec: DiffusersModel) -> ModelCard:
    """What this pipeline is and can do. ModelError, in one line, where it cannot be loaded."""
    place = place_of(spec.diffusers, spec.revision)
    kind = pipeline_class(place.folder)
    does = _jobs(kind, spec)
    if "upscale" in does:
        check_upscaler(spec, kind)
    parts = [
        part
        for part in components(place.folder)
        if not (spec.vae is not None and part.name == "vae")
    ]
    if len(spec.controlnet) > 1 and all(part.name != "unet" for part in parts):
        raise ModelError(f"{spec.diffusers}: a {kind} takes one controlnet, not several")
    for part in parts:
        check_component(part, spec.variant)
    if spec.scheduler is not None:
        own = next((part.kind for part in parts if part.name == "scheduler"), "")
        check_scheduler(spec.scheduler, own)
    pins = [_pin(place, files_of(place.folder, parts, spec.variant)), *_pins(spec, place.folder)]
    said = spec.model_dump(mode="json", exclude={"diffusers", "revision", "offload"})
    scale = upscaler_scale(kind)
    return ModelCard(
        digest_of({"pins": pins, "said": _without_places(said)}),
        does,
        scales=None if scale is None else frozenset({scale}),
        prompted=True,
        about=f"{kind} ({spec.diffusers})",
    )


def _jobs(kind: str, spec: DiffusersModel) -> frozenset[Job]:
    """What a pipeline of this class is good for; ModelError where that is nothing."""
    import diffusers

    if not hasattr(diffusers, kind):
        raise ModelError(
            f"{spec.diffusers}: is a {kind}, which diffusers {diffusers.__version__} does not have"
        )
    does = jobs_of(kind, [net.shows for net in spec.controlnet])
    if not does:
        under = " with a ControlNet" if spec.controlnet else ""
        raise ModelError(
            f"{spec.diffusers}: a {kind}{under} can neither paint (image to image or inpainting, "
            "by a strength) nor enlarge"
        )
    return does


def _without_places(said: dict[str, Any]) -> dict[str, Any]:
    """The settings alone: where something lies is not what it is."""
    places = {"lora", "controlnet", "repo", "revision", "file"}
    lists = {"lora", "controlnet"}
    out: dict[str, Any] = {}
    for name, value in said.items():
        if name in lists and isinstance(value, list):
            out[name] = [_without_places(one) for one in value]
        elif isinstance(value, dict) and name in ("vae", "depth_model"):
            out[name] = _without_places(value)
        elif name not in places:
            out[name] = value
    return out


def _pin(place: Place, files: list[Path]) -> str:
    return place.pinned or digest_of_files(files)


def _pins(spec: DiffusersModel, folder: Path) -> Iterator[str]:
    """Of everything beside the pipeline itself, each checked."""
    if spec.vae is not None:
        yield _vae(spec.vae, spec.variant)
    for lora in spec.lora:
        yield _lora(lora)
    for net in spec.controlnet:
        yield _controlnet(net, folder)
        if net.depth_model is not None:
            yield _depth(net.depth_model)


def _vae(spec: HubModel, variant: str | None) -> str:
    place = place_of(spec.repo, spec.revision)
    kind = read_json(place.folder / "config.json").get("_class_name", "AutoencoderKL")
    part = Component("vae", place.folder, "diffusers", str(kind))
    check_component(part, variant)
    return _pin(place, [*settings_of(place.folder), *weight_files(place.folder, variant)])


def _lora(spec: Lora) -> str:
    path = lora_file(spec)
    if spec.revision is not None:
        return f"{spec.lora}@{spec.revision}/{path.name}"
    return digest_of_files([path])


def _controlnet(spec: ControlNet, pipeline: Path) -> str:
    place = place_of(spec.controlnet, spec.revision)
    config = read_json(place.folder / "config.json")
    kind = config.get("_class_name")
    if not isinstance(kind, str) or "ControlNet" not in kind:
        raise ModelError(f"{place.folder}: is a {kind}, not a ControlNet")
    check_component(Component("controlnet", place.folder, "diffusers", kind), None)
    wrong = misfit(_denoiser_config(pipeline), config)
    if wrong is not None:
        raise ModelError(f"{place.folder}: {wrong}")
    return _pin(place, [*settings_of(place.folder), *weight_files(place.folder, None)])


def _denoiser_config(pipeline: Path) -> dict[str, Any]:
    unet = pipeline / "unet" / "config.json"
    return read_json(unet if unet.is_file() else pipeline / "transformer" / "config.json")


def _depth(spec: HubModel) -> str:
    place = place_of(spec.repo, spec.revision)
    config = read_json(place.folder / "config.json")
    kind = next(iter(config.get("architectures") or ()), None)
    if "auto_map" in config or not str(kind).endswith("ForDepthEstimation"):
        raise ModelError(f"{place.folder}: is a {kind}, not a depth estimator of transformers")
    part = Component("depth_model", place.folder, "transformers", str(kind))
    check_component(part, None)
    return _pin(place, [*settings_of(place.folder), *weight_files(place.folder, None)])
