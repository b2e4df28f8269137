"""LoRAs: low-rank weights, added to a pipeline's own when it is loaded, once and for all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline.adapters.diffusers.errors import WRONG, first_line
from pipeline.adapters.diffusers.hub import folder_of
from pipeline.adapters.files import check_safetensors
from schemas.errors import ModelError
from schemas.models import Lora

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


def add_loras(pipeline: DiffusionPipeline, loras: Sequence[Lora]) -> None:
    """All of them, weighted; ModelError where one does not fit the pipeline, or changes nothing."""
    for lora in loras:
        _add(pipeline, lora)


def lora_file(lora: Lora) -> Path:
    """The .safetensors file of a LoRA."""
    if lora.lora.lower().endswith(".safetensors"):
        path = Path(lora.lora)
    else:
        folder = folder_of(lora.lora, lora.revision, "lora")
        path = folder / (lora.file or _only_file(folder))
    check_safetensors(path, "a LoRA")
    return path


def _only_file(folder: Path) -> str:
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise ModelError(f"{folder}: lora.file must say which .safetensors file; there is {found}")
    return names[0]


def _add(pipeline: DiffusionPipeline, lora: Lora) -> None:
    path = lora_file(lora)
    kind = type(pipeline).__name__
    if not hasattr(pipeline, "load_lora_weights"):
        raise ModelError(f"{path}: {kind} takes no LoRA")
    try:
        pipeline.load_lora_weights(
            str(path.parent), weight_name=path.name, local_files_only=True, adapter_name="lora"
        )
        changed = list(pipeline.get_list_adapters())
        if changed:
            before = _fingerprint(pipeline, changed)
            pipeline.set_adapters(["lora"], [lora.scale])
            pipeline.fuse_lora(components=changed, adapter_names=["lora"])
            pipeline.unload_lora_weights()
    except WRONG as error:
        raise ModelError(f"{path}: not a LoRA of {kind}: {first_line(error)}") from error
    if not changed or (lora.scale and _fingerprint(pipeline, changed) == before):
        raise ModelError(f"{path}: changes nothing in {kind}; it is for another pipeline")


def _fingerprint(pipeline: DiffusionPipeline, parts: Sequence[str]) -> list[float]:
    """The sum of every weight matrix, without the LoRA's own."""
    return [
        float(weight.sum(dtype=torch.float64))
        for part in parts
        for name, weight in getattr(pipeline, part).named_parameters()
        if "lora_" not in name
    ]
