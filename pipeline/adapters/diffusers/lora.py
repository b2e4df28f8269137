"""LoRAs: low-rank weights, added to a pipeline's own when it is loaded, once and for all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline.adapters.diffusers.errors import WRONG, first_line
from pipeline.adapters.diffusers.hub import folder_of, is_repository
from pipeline.adapters.files import check_safetensors
from schemas.errors import ModelError
from schemas.models import Lora

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


def add_loras(pipeline: DiffusionPipeline, loras: Sequence[Lora]) -> None:
    """All of them, weighted; ModelError where one does not fit the pipeline, or changes nothing."""
    for lora in loras:
        _add(pipeline, lora)


def lora_file(spec: Lora) -> Path:
    """The file of low-rank weights. ModelError where it is none, or there are several."""
    path = Path(spec.lora)
    if path.suffix and not path.is_dir() and not is_repository(spec.lora):
        check_safetensors(path, "LoRA weights")
        return path
    folder = folder_of(spec.lora, spec.revision)
    found = [folder / spec.file] if spec.file else sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        names = ", ".join(one.name for one in found) or "no .safetensors"
        raise ModelError(f"{folder}: {names}; say which with file:")
    check_safetensors(found[0], "LoRA weights")
    return found[0]


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
