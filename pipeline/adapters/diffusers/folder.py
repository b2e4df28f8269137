"""A folder that `save_pretrained` wrote, looked at before anything is loaded from it.

Refused by name: code (a component of no library that we know, an `auto_map`), pickles, missing
weights, and weights whose shapes are not those of their configuration. Only JSON and the headers of
safetensors files are read; the networks are built without memory, on torch's meta device.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.adapters.diffusers.errors import WRONG, first_line, own_warnings_ignored
from pipeline.adapters.files import PICKLES
from schemas.errors import ModelError

INDEX: Final = "model_index.json"
LIBRARIES: Final = ("diffusers", "transformers")
WITHOUT_WEIGHTS: Final = ("Scheduler", "Tokenizer", "Processor", "FeatureExtractor")
"""In the names of classes that are settings alone."""

LEFT_OUT: Final = ("safety_checker", "feature_extractor", "image_encoder")
"""Optional components that are never loaded: what a safety filter blackens would be lost."""

READ: Final = (".json", ".txt", ".model", ".jinja")
"""Settings and vocabularies, beside the weights: what a pipeline is made of."""

MAX_JSON: Final = 64 * 2**20


@dataclass(frozen=True)
class Component:
    """One part of a pipeline: its folder, and the class that its index names."""

    name: str
    folder: Path
    library: str
    kind: str

    @property
    def weighs(self) -> bool:
        """Whether it has weights."""
        return not any(word in self.kind for word in WITHOUT_WEIGHTS)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON mapping; ModelError where the file is none."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise ModelError(f"{path}: {path.stat().st_size} bytes; no settings are so long")
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{path.absolute()}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path}: not a JSON mapping")
    return value


def pipeline_class(folder: Path) -> str:
    """The name of the pipeline's class, which is one of diffusers' own."""
    if not (folder / INDEX).is_file():
        raise ModelError(
            f"{(folder / INDEX).absolute()}: no such file; a diffusers model is a folder that "
            "save_pretrained wrote"
        )
    name = read_json(folder / INDEX).get("_class_name")
    if not isinstance(name, str) or not name.isidentifier():
        raise ModelError(
            f"{folder / INDEX}: its pipeline is {name!r}, code of its own, which is never run; "
            "take a model whose pipeline is in diffusers"
        )
    return name


def components(folder: Path) -> list[Component]:
    """The parts of a pipeline that are loaded. ModelError where one would need code of its own."""
    index = read_json(folder / INDEX)
    found = []
    for name, value in index.items():
        if name.startswith("_") or not isinstance(value, list) or name in LEFT_OUT:
            continue
        library, kind = value if len(value) == 2 else (None, None)
        if library is None and kind is None:
            continue  # an optional part that this model does not have
        if library not in LIBRARIES or not isinstance(kind, str):
            raise ModelError(
                f"{folder / INDEX}: {name} is {library}.{kind}, code of its own, which is never "
                f"run; a part must be of {' or '.join(LIBRARIES)}"
            )
        found.append(Component(name, folder / name, library, kind))
    return found


def check_component(part: Component, variant: str | None) -> None:
    """ModelError where a part needs remote code, has no safetensors, or others than it says."""
    if not part.weighs:
        return
    config = read_json(part.folder / "config.json")
    if "auto_map" in config:
        raise ModelError(
            f"{part.folder / 'config.json'}: auto_map asks for code of the repository "
            "(trust_remote_code), which is never run"
        )
    check_shapes(part, config, weight_files(part.folder, variant))


def weight_files(folder: Path, variant: str | None) -> list[Path]:
    """The safetensors of a part, of this variant; ModelError where there are pickles alone."""
    there = sorted(folder.glob("*.safetensors"))
    suited = [path for path in there if _variant(path) == variant]
    if suited:
        return suited
    if there:
        has = ", ".join(sorted({_variant(path) or "none" for path in there}))
        raise ModelError(f"{folder}: no weights of the variant {variant}; there are: {has}")
    pickles = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLES)
    if pickles:
        raise ModelError(
            f"{folder / pickles[0]}: a pickle, which runs code when it is read; save the model "
            "again with safe_serialization=True"
        )
    raise ModelError(f"{folder.absolute()}: there are no weights (*.safetensors)")


def _variant(path: Path) -> str | None:
    """`model.fp16-00001-of-00002.safetensors` -> `fp16`."""
    middle = path.name.split(".")[1:-1]
    return middle[0].partition("-")[0] if middle else None


def files_of(folder: Path, parts: Sequence[Component], variant: str | None) -> list[Path]:
    """Everything that is loaded, in a fixed order: what the digest of a local folder covers."""
    files = [folder / INDEX]
    for part in parts:
        files += settings_of(part.folder)
        if part.weighs:
            files += weight_files(part.folder, variant)
    return files


def settings_of(folder: Path) -> list[Path]:
    """Settings and vocabularies in a folder."""
    return sorted(path for path in folder.glob("*") if path.suffix in READ and path.is_file())


def check_shapes(part: Component, config: Mapping[str, Any], weights: Sequence[Path]) -> None:
    """ModelError where a tensor has another shape than its configuration says, or is missing."""
    wanted = dict(_wanted_shapes(part, config))
    found = dict(_found_shapes(weights))
    for name, shape in wanted.items():
        if name in found and found[name] != shape:
            raise ModelError(
                f"{part.folder}: {name} has the shape {list(found[name])} and should have "
                f"{list(shape)}; the weights are not those of config.json"
            )
    missing = [name for name in wanted if name not in found]
    if part.library == "diffusers" and missing:
        raise ModelError(f"{part.folder}: {missing[0]} is not among its weights; they are another")
    if wanted and len(missing) == len(wanted):
        raise ModelError(f"{part.folder}: the weights are not those of a {part.kind}")


def _wanted_shapes(
    part: Component, config: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every parameter that the configuration asks for; transformers may name a few otherwise."""
    for name, tensor in _meta(part, config).named_parameters():
        yield name, tuple(tensor.shape)


def _meta(part: Component, config: Mapping[str, Any]) -> Any:
    """The network without memory."""
    import importlib

    import torch

    kind = getattr(importlib.import_module(part.library), part.kind, None)
    if kind is None:
        raise ModelError(f"{part.folder}: there is no {part.kind} in {part.library}")
    try:
        with torch.device("meta"), own_warnings_ignored():
            if part.library == "diffusers":
                return kind.from_config(dict(config))
            return kind(kind.config_class.from_dict(dict(config)))
    except WRONG as error:
        says = f"no {part.kind}: {first_line(error)}"
        raise ModelError(f"{part.folder / 'config.json'}: {says}") from error


def _found_shapes(weights: Sequence[Path]) -> Iterator[tuple[str, tuple[int, ...]]]:
    from safetensors import SafetensorError, safe_open

    for path in weights:
        try:
            with safe_open(path, "pt") as file:
                for name in sorted(file.keys()):
                    yield name, tuple(file.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path}: cannot be read: {error}") from None
