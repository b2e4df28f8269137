"""What travels with a recipe to a cluster: a folder that every process of the job has as its own.

    the recipe         and its lift test (`jobs.travel`)
    models             that they name by a relative path: small ones, of your own
    the working tree   with `--working-dir`, for development: the code that the job then runs

All keep their relative paths. Data never travels, nor does what git ignores. The cluster keeps the
folder in its head's memory, and every node fetches it from there: hence the limit.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from jobs.lift.files import recipes_of
from jobs.models import repositories
from jobs.travel import HELD, Package, Reach, inside, model_paths, packed
from pipeline.recipe import FullRecipe, load_recipe
from schemas.errors import RecipeError

LIMIT: Final = 100 * 2**20
"""Bytes, unpacked."""

LEFT_OUT: Final = frozenset(("out", "mlruns", "data", "weights", ".git", ".venv"))
"""Of the top of a working tree. Models that the recipe names travel all the same."""

_HINT: Final = "; or --shared DIR, for a folder that every node has under the same path"


def make_package(file: Path, shared: tuple[str, ...] = (), tree: Path | None = None) -> Package:
    """Reads and checks the recipe; RecipeError, with the place, where no cluster could run it.

    `shared`: folders that every node has under the same path. `tree`: the working tree to ship.
    """
    recipe = load_recipe(file)
    folders = tuple(f"{folder.rstrip('/')}/" for folder in shared)
    small = tuple(sorted({path for one in recipes_of(recipe) for path in _shippable(one)}))
    package = packed(file, recipe, Reach(folders, (*HELD, *folders, *small), _HINT))
    files = {} if tree is None else _tree(tree)
    for path in small:
        files |= _below(Path(path))
    files |= package.files
    _check_size(file, files)
    return replace(package, files=files)


def _shippable(recipe: FullRecipe) -> tuple[str, ...]:
    """The files and folders of models, by relative paths that stay below this folder."""
    fetched = {one.repo for one in repositories(recipe)}
    named = {p for spec in recipe.models.values() for p in model_paths(spec.model_dump())}
    return tuple(sorted(p for p in named - fetched if inside(p) and Path(p).exists()))


def _below(path: Path) -> dict[str, Path]:
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {one.as_posix(): one for one in found if one.is_file()}


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
