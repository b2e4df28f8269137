"""What travels with a recipe to machines that have none of this one's files, and what cannot.

    <recipe>.yaml    the recipe, its files of prompts put in
    the lift test    that `publish:` names, and the recipes of its arms, with their prompts

All keep their relative paths, in a folder where every process works, of a job (`jobs.cluster`) and
of a night (`jobs.scheduling`). Data never travels: source and sink must be where all machines reach
them, MLflow a server; models are repositories at a commit, or lie where every machine has them. All
that does not fit is refused with its place.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

from jobs.lift.files import LiftTest, lift_test_of, recipes_of
from jobs.models import repositories
from pipeline.config import read_document
from pipeline.recipe import FullRecipe
from pipeline.storage.secrets import without_secrets
from pipeline.storage.store import SHARED, Store
from schemas.errors import RecipeError

MODELS: Final = "/models"
"""Where the volume of models is in every pod."""

HELD: Final = (f"{MODELS}/", "/srv/noiseloom/weights/")
"""Where models may lie in a pod: on that volume, or in the image (`infra/container`)."""

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_FILE: Final = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)


@dataclass(frozen=True)
class Package:
    """A recipe and everything that goes with it. `recipes`: it, and those with the models that its
    lift test needs. `files`: relative path -> where it is now.
    """

    file: Path
    recipes: tuple[FullRecipe, ...]
    text: str
    files: dict[str, Path]

    @property
    def recipe(self) -> FullRecipe:
        """The one that runs."""
        return self.recipes[0]

    @property
    def name(self) -> str:
        """Of the recipe's file, wherever it runs."""
        return f"{self.file.stem}.yaml"

    @property
    def fetches(self) -> bool:
        """Whether a model has to be downloaded first."""
        return any(True for recipe in self.recipes for _ in repositories(recipe))

    def write(self, folder: Path) -> None:
        """Everything, below an empty folder."""
        for path, origin in self.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(origin.read_bytes())
            target.chmod(origin.stat().st_mode & 0o777)
        (folder / self.name).write_text(self.text)


@dataclass(frozen=True)
class Reach:
    """What other machines have: data below these folders, models below those. `hint`: what else
    could be done about data that is elsewhere.
    """

    folders: tuple[str, ...] = ()
    models: tuple[str, ...] = HELD
    hint: str = ""


def packed(file: Path, recipe: FullRecipe, reach: Reach | None = None) -> Package:
    """The recipe and its lift test; RecipeError, in one line with the place, where no other machine
    could run it.
    """
    reach, test = reach or Reach(), lift_test_of(recipe)
    for place, says in _unreachable(file, recipe, reach):
        raise RecipeError(f"{file}: {place}: {says}")
    for place, says in () if test is None else _test_unreachable(test, recipe, reach):
        raise RecipeError(f"{place}: {says}")
    files = {} if test is None else _files(file, test)
    return Package(file, recipes_of(recipe), shipped_recipe(file, recipe), files)


def inside(path: str) -> bool:
    """Whether a path stays below the folder that it is read from."""
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and "://" not in path


def _files(file: Path, test: LiftTest) -> dict[str, Path]:
    found = {}
    for path in test.files:
        if not inside(path):
            says = f"{path} cannot travel; name it by a path below this folder"
            raise RecipeError(f"{file}: publish.lift: {says}")
        found[PurePosixPath(path).as_posix()] = Path(path)
    own = found.pop(f"{file.stem}.yaml", file)  # an arm may name the recipe itself
    if not own.samefile(file):
        says = f"{own} has the name that the recipe has where it runs; rename one of them"
        raise RecipeError(f"{file}: publish.lift: {says}")
    return found


def _unreachable(file: Path, recipe: FullRecipe, reach: Reach) -> Iterator[tuple[str, str]]:
    if not _FILE.fullmatch(file.stem):
        yield "its name", "goes through a shell in the cluster; take letters, digits and _ . + -"
    yield from _store("sink", recipe.sink, reach)
    for i, url in enumerate(recipe.source.shards):
        yield from _store(f"source.shards[{i}]", url, reach)
    yield from _models(recipe, reach.models)
    yield from _tracking(recipe.tracking.uri)


def _test_unreachable(
    test: LiftTest, recipe: FullRecipe, reach: Reach
) -> Iterator[tuple[str, str]]:
    for place, source in test.sources:
        for i, url in enumerate(source.shards):
            yield from _store(f"{test.path}: {place}.shards[{i}]", url, reach)
    for place, url in test.sinks:
        yield from _store(f"{test.path}: {place}", url, reach)
    for name, one in test.needs(recipe).items():
        yield from ((f"{name}: {place}", says) for place, says in _models(one, reach.models))
    for place, says in _tracking(test.config.tracking.uri):
        yield f"{test.path}: {place}", says


def _store(place: str, url: str, reach: Reach) -> Iterator[tuple[str, str]]:
    if not Store(url).shared and not url.startswith(reach.folders):
        known = ", ".join(f"{scheme}://" for scheme in SHARED)
        yield place, f"{url} is on this machine, which no other reaches; take {known}{reach.hint}"


def _tracking(uri: str | None) -> Iterator[tuple[str, str]]:
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


def shipped_recipe(file: Path, recipe: FullRecipe) -> str:
    """The recipe as the cluster gets it: the user's text, or, where prompts are files of this
    machine, the same recipe with their prompts in it; RecipeError where nobody could read that,
    it is so long.
    """
    text = file.read_text()
    if not any(_names_file(op) for op in yaml.safe_load(text)["ops"]):
        return text
    document = recipe.model_dump(mode="json", exclude_unset=True)
    body = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    whole = f"# {file.name}, with its files of prompts put in\n{body}"
    with tempfile.TemporaryDirectory(prefix="noiseloom-") as folder:
        there = Path(folder) / file.name
        there.write_text(whole)
        try:
            read_document(there)
        except RecipeError as error:
            says = str(error).removeprefix(f"{there}: ")
            raise RecipeError(
                f"{file}: with its files of prompts put in: {says}; name fewer prompts"
            ) from None
    return whole


def _names_file(op: dict[str, Any]) -> bool:
    return any(
        isinstance(op.get(key), dict) and "file" in op[key] for key in ("prompt", "negative_prompt")
    )
