"""What a model has seen, as far as it is known: the images that its weights were made from.

Our own models say it themselves: the configuration of their training stands in the card beside the
weights. Its `data` was learnt, and its `unlabelled` images. Its `validation` counts as seen only
where it shaped the model: it picked a denoiser's step (`patience`), or a detector's thresholds. A
model that went on from another (`init`) has seen what that one had. Of anybody else's model nothing
is known, and that is said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from pydantic import TypeAdapter, ValidationError

from pipeline.diffusion.folder import CONFIG_FILE
from pipeline.sink.run_files import plan_path
from pipeline.storage.store import Store
from schemas.errors import SinkError
from schemas.models import AnyModel, NativeModel
from schemas.recipe import Source

_CONFIGURATION: Final = re.compile(r"^## Configuration\n+```yaml\n(.*?)^```", re.M | re.S)
_MODELS: Final = TypeAdapter(dict[str, AnyModel])


@dataclass(frozen=True)
class Seen:
    """One model and one source that it learnt; `source` is None where that is not known."""

    model: str
    source: Source | None
    detail: str = ""

    @property
    def where(self) -> str:
        """In words."""
        shards = "unknown images" if self.source is None else ", ".join(self.source.shards)
        return f"{shards}, which the model {self.model} has seen"


def seen_by(models: Mapping[str, AnyModel]) -> Iterator[Seen]:
    """What these models have seen."""
    for name, spec in models.items():
        if isinstance(spec, NativeModel):
            yield from _of_folder(name, Path(spec.native), ())
        else:
            yield Seen(name, None, "nothing says what it was trained on")


def models_of_run(sink: str, run: str) -> dict[str, AnyModel]:
    """The models that a published run was made with, as its plan names them."""
    store, path = Store(sink), plan_path(run)
    try:
        plan = json.loads(store.read(path))
        return _MODELS.validate_python(plan["recipe"].get("models", {}))
    except (OSError, ValueError, KeyError, ValidationError) as error:
        raise SinkError(f"{store.at(path)}: the plan of the run cannot be read: {error}") from None


def _of_folder(name: str, folder: Path, before: tuple[Path, ...]) -> Iterator[Seen]:
    card = folder / "README.md"
    text = card.read_text() if card.is_file() else ""
    found = _CONFIGURATION.search(text)
    if found is None:
        yield Seen(name, None, f"{card} has no configuration of its training")
        return
    config = yaml.safe_load(found.group(1))
    parts = ["data", "unlabelled", *(["validation"] if _picked(folder, config) else [])]
    for part in parts:
        if config.get(part) is not None:
            yield Seen(name, Source.model_validate(config[part]), part)
    init = config.get("init")
    if init is not None and Path(init) not in before:
        yield from _of_folder(name, Path(init), (*before, Path(init)))


def _picked(folder: Path, config: Mapping[str, object]) -> bool:
    """Whether the validation images had a say in the weights or the thresholds."""
    if config.get("patience"):
        return True
    try:
        return bool(json.loads((folder / CONFIG_FILE).read_bytes()).get("does") == "detect")
    except (OSError, ValueError):
        return True  # not known, so that it may have
