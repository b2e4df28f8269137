"""What a cluster is told besides the recipe, and what of a recipe no cluster can reach.

In a pod there is no folder of this machine. Source and sink must be object stores, MLflow a server;
models are repositories at a commit, or lie on the volume of models. All that does not fit is
refused with its place in the recipe, before anything is rendered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from jobs.models import repositories
from jobs.scheduling.night import Night
from pipeline.recipe import FullRecipe
from pipeline.secrets import without_secrets
from pipeline.store import SHARED, Store
from schemas.errors import RecipeError

MODELS: Final = "/models"
"""Where the volume of models is in every pod."""

HELD: Final = (f"{MODELS}/", "/srv/noiseloom/weights/")
"""Where models may lie in a pod: on that volume, or in the image (`infra/container`)."""

_IMAGE: Final = re.compile(r"[a-z0-9][a-zA-Z0-9._:/-]*@sha256:[0-9a-f]{64}")
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_SPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SIZE: Final = re.compile(r"[1-9][0-9]{0,5}(Mi|Gi)")
_LABEL: Final = re.compile(
    r"(?:[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?"
    r"=[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?"
)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_FILE: Final = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)


@dataclass(frozen=True)
class Cloud:
    """Facts of the cluster that no recipe knows. `nodes` and `spot` are labels, `name=value`, of
    the nodes that workers run on; `memory` is one worker's.
    """

    image: str
    namespace: str = "noiseloom"
    secrets: tuple[str, ...] = ()
    models_claim: str = "noiseloom-models"
    nodes: str | None = None
    spot: str | None = None
    memory: str | None = None

    def __post_init__(self) -> None:
        if not _IMAGE.fullmatch(self.image):
            raise RecipeError(
                f"--image: {self.image!r}: a tag is another image tomorrow; name it by its digest, "
                "as registry/noiseloom@sha256:... (docker buildx imagetools inspect tells it)"
            )
        named = [
            ("--namespace", self.namespace, _SPACE),
            ("--models-claim", self.models_claim, _NAME),
            *(("--secret", name, _NAME) for name in self.secrets),
        ]
        for option, name, legal in named:
            if not legal.fullmatch(name):
                raise RecipeError(f"{option}: {name!r} is no name: lower case, digits and hyphens")
        for option, label in (("--nodes", self.nodes), ("--spot", self.spot)):
            if label is not None and not _LABEL.fullmatch(label):
                raise RecipeError(f"{option}: {label!r} is no label of nodes; write name=value")
        if self.memory is not None and not _SIZE.fullmatch(self.memory):
            raise RecipeError(f"--memory: {self.memory!r} is no size; write 24Gi or 900Mi")


def check_reachable(night: Night) -> None:
    """RecipeError, in one line, with the first thing of the recipe that no pod can reach."""
    for place, says in (*unreachable(night.file, night.recipe), *_lift_test(night.recipe)):
        raise RecipeError(f"{night.file}: {place}: {says}")


def _lift_test(recipe: FullRecipe) -> Iterator[tuple[str, str]]:
    """Its file names data and recipes of its own, which a ConfigMap does not hold."""
    if recipe.publish is not None:
        says = (
            f"{recipe.publish.lift} does not travel with a night; `noiseloom submit` takes it along"
        )
        yield "publish.lift", f"{says}, or leave `publish` out"


def unreachable(
    file: Path, recipe: FullRecipe, folders: tuple[str, ...] = (), models: tuple[str, ...] = HELD
) -> Iterator[tuple[str, str]]:
    """What of the recipe no node of a cluster can reach: where it stands, and what to do. Paths of
    data below `folders`, and of models below `models`, are there.
    """
    if not _FILE.fullmatch(file.stem):
        yield "its name", "goes through a shell in the cluster; take letters, digits and _ . + -"
    stores = [("sink", recipe.sink)]
    stores += [(f"source.shards[{i}]", url) for i, url in enumerate(recipe.source.shards)]
    for place, url in stores:
        if not Store(url).shared and not url.startswith(folders):
            known = ", ".join(f"{scheme}://" for scheme in SHARED)
            yield place, f"{url} is on this machine, which no other reaches; take {known}"
    yield from _models(recipe, models)
    uri = recipe.tracking.uri
    scheme = (uri or "").partition("://")[0]
    if uri is not None and ("://" not in uri or scheme in ("file", "sqlite")):
        yield (
            "tracking.uri",
            f"{uri} is a file of this machine; name a server (https://...), or null for none",
        )
    if uri is not None and without_secrets(uri) != uri:
        yield "tracking.uri", "holds something that signs in; that belongs into a --secret"


def _models(recipe: FullRecipe, there: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    fetched = list(repositories(recipe))
    for name, spec in recipe.models.items():
        for path in model_paths(spec.model_dump()):
            for repository in (one for one in fetched if one.repo == path):
                if not _COMMIT.fullmatch(repository.revision or ""):
                    says = f"{path} at {repository.revision}: no full commit, 40 hex digits"
                    yield f"models.{name}", says
            if not path.startswith(there) and path not in {one.repo for one in fetched}:
                says = f"{path} is on this machine; put it on the volume of models and name it"
                yield f"models.{name}", f"{says} {MODELS}/..., or name a repository at a commit"


_PATHS: Final = frozenset(
    ("native", "diffusers", "lora", "repo", "controlnet", "spandrel", "onnx", "weights")
)
"""Keys of a model that name a file, a folder or a repository."""


def model_paths(value: object) -> Iterator[str]:
    """Every file, folder or repository that a model, as plain values, names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _PATHS and isinstance(inner, str):
                yield inner
            else:
                yield from model_paths(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from model_paths(inner)


def fetches(night: Night) -> bool:
    """Whether a model of the recipe has to be downloaded first."""
    return any(True for _ in repositories(night.recipe))


def shipped_recipe(file: Path, recipe: FullRecipe) -> str:
    """The recipe as the cluster gets it: the user's text, or, where prompts are files of this
    machine, the same recipe with their prompts in it.
    """
    text = file.read_text()
    if not any(_names_file(op) for op in yaml.safe_load(text)["ops"]):
        return text
    document = recipe.model_dump(mode="json", exclude_unset=True)
    body = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return f"# {file.name}, with its files of prompts put in\n{body}"


def _names_file(op: dict[str, Any]) -> bool:
    return any(
        isinstance(op.get(key), dict) and "file" in op[key] for key in ("prompt", "negative_prompt")
    )
