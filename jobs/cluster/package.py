"""What travels with a recipe to a cluster: a folder that every process of the job has as its own.

    <recipe>.yaml      the recipe, its files of prompts put in
    the lift test      that `publish:` names, and the recipes of its arms
    models             that the recipe names by a relative path: small ones, of your own
    the working tree   with `--working-dir`, for development: the code that the job then runs

All keep their relative paths. Data never travels, nor does what git ignores. The cluster keeps the
folder in its head's memory, and every node fetches it from there: hence the limit.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import yaml

from jobs.models import repositories
from jobs.scheduling.cloud import HELD, model_paths, shipped_recipe, unreachable
from pipeline.config import load_config
from pipeline.recipe import FullRecipe, load_recipe
from schemas.errors import RecipeError

if TYPE_CHECKING:
    from pipeline.lift.config import LiftConfig

LIMIT: Final = 100 * 2**20
"""Bytes, unpacked."""

LEFT_OUT: Final = frozenset(("out", "mlruns", "data", "weights", ".git", ".venv"))
"""Of the top of a working tree. Models that the recipe names travel all the same."""


@dataclass(frozen=True)
class Package:
    """A recipe and everything that goes with it. `files`: relative path -> where it is now."""

    file: Path
    recipe: FullRecipe
    text: str
    files: dict[str, Path]

    @property
    def name(self) -> str:
        """Of the recipe's file, on the cluster."""
        return f"{self.file.stem}.yaml"

    def write(self, folder: Path) -> None:
        """Everything, below an empty folder."""
        for path, origin in self.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(origin.read_bytes())
            target.chmod(origin.stat().st_mode & 0o777)
        (folder / self.name).write_text(self.text)


def make_package(file: Path, shared: tuple[str, ...] = (), tree: Path | None = None) -> Package:
    """Reads and checks the recipe; RecipeError, with the place, where no cluster could run it.

    `shared`: folders that every node has under the same path. `tree`: the working tree to ship.
    """
    recipe = load_recipe(file)
    folders = tuple(f"{folder.rstrip('/')}/" for folder in shared)
    lift = _lift_of(recipe)
    recipes = [recipe, *(lift.recipes(recipe) if lift else ())]
    small = tuple(sorted({path for one in recipes for path in _shippable(one)}))
    files = {} if tree is None else _tree(tree)
    for path in small:
        files |= _below(Path(path))
    if lift is not None:
        files |= lift.files(file)
        lift.check_reachable(recipe, folders)
    for one in recipes:
        for place, says in unreachable(file, one, folders, (*HELD, *folders, *small)):
            if one is recipe or place.startswith("models"):
                raise RecipeError(f"{file}: {place}: {says}{_hint(place)}")
    _check_size(file, files)
    return Package(file, recipe, shipped_recipe(file, recipe), files)


def _hint(place: str) -> str:
    if place.startswith(("sink", "source")):
        return "; or --shared DIR, for a folder that every node has under the same path"
    return ""


def _shippable(recipe: FullRecipe) -> tuple[str, ...]:
    """The files and folders of models, by relative paths that stay below this folder."""
    fetched = {one.repo for one in repositories(recipe)}
    named = {p for spec in recipe.models.values() for p in model_paths(spec.model_dump())}
    return tuple(sorted(p for p in named - fetched if _inside(p) and Path(p).exists()))


def _inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and "://" not in path


def _below(path: Path) -> dict[str, Path]:
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {one.as_posix(): one for one in found if one.is_file()}


@dataclass(frozen=True)
class _Lift:
    """The lift test that publishing asks for."""

    path: str
    config: LiftConfig

    def recipes(self, recipe: FullRecipe) -> Iterator[FullRecipe]:
        """Those of its arms, and one with the models of its own ops."""
        yield recipe.model_copy(update={"models": self.config.models})
        for arm in self.config.arms.values():
            if arm.recipe is not None:
                yield load_recipe(arm.recipe)

    def files(self, file: Path) -> dict[str, Path]:
        """Its own, its arms' recipes, and the files of prompts of all of them."""
        recipes = [arm.recipe for arm in self.config.arms.values() if arm.recipe is not None]
        named = [self.path, *recipes]
        for path in tuple(named):
            named += _prompt_files(yaml.safe_load(Path(path).read_text()))
        for path in named:
            if not _inside(path):
                says = f"{path} cannot travel; name it by a path below this folder"
                raise RecipeError(f"{file}: publish.lift: {says}")
        return {PurePosixPath(path).as_posix(): Path(path) for path in named}

    def check_reachable(self, recipe: FullRecipe, folders: tuple[str, ...]) -> None:
        """RecipeError where no node reaches its data, or the place of its results."""
        test = self.config
        for name, source in (("data", test.data), ("validation", test.validation)):
            update = {"source": source, "sink": test.out, "models": {}}
            for place, says in unreachable(
                Path(self.path), recipe.model_copy(update=update), folders
            ):
                where = place.replace("source", name).replace("sink", "out")
                if not place.startswith("tracking"):
                    raise RecipeError(f"{self.path}: {where}: {says}{_hint(place)}")


def _lift_of(recipe: FullRecipe) -> _Lift | None:
    if recipe.publish is None:
        return None
    from pipeline.lift.config import LiftConfig

    return _Lift(recipe.publish.lift, load_config(recipe.publish.lift, LiftConfig))


def _prompt_files(value: Any) -> Iterator[str]:
    """Whatever stands under `file:` below a `prompt:` or a `negative_prompt:`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            is_prompt = key in ("prompt", "negative_prompt") and isinstance(inner, dict)
            if is_prompt and isinstance(inner.get("file"), str):
                yield inner["file"]
            else:
                yield from _prompt_files(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _prompt_files(inner)


def _tree(tree: Path) -> dict[str, Path]:
    """The files of a working tree: those that git knows or would take, or all, where it is none of
    git's.
    """
    if not tree.is_dir():
        raise RecipeError(f"--working-dir: {tree}: is no folder")
    listed = _git_files(tree)
    if listed is None:
        listed = [path.relative_to(tree).as_posix() for path in sorted(tree.rglob("*"))]
    kept = [path for path in listed if PurePosixPath(path).parts[0] not in LEFT_OUT]
    return {
        path: tree / path for path in kept if (tree / path).is_file() and "__pycache__" not in path
    }


def _git_files(tree: Path) -> list[str] | None:
    command = ["git", "-C", str(tree), "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - no shell
    except OSError:
        return None
    if done.returncode:
        return None
    return sorted(name for name in done.stdout.decode().split("\0") if name)


def _check_size(file: Path, files: dict[str, Path]) -> None:
    sizes = {path: origin.stat().st_size for path, origin in files.items()}
    total = sum(sizes.values())
    if total <= LIMIT:
        return
    largest = sorted(sizes, key=lambda path: -sizes[path])[:3]
    named = ", ".join(f"{path} ({sizes[path] / 2**20:.0f} MiB)" for path in largest)
    raise RecipeError(
        f"{file}: what would travel with it has {total / 2**20:.0f} MiB, and {LIMIT / 2**20:.0f} "
        f"are the limit: {named}, ... Put models on a volume that all nodes have, or into the "
        "image; let git ignore what is no code"
    )
