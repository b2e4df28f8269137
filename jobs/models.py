"""`noiseloom models check` and `fetch`.

Only `fetch` ever asks a network, and only for what the recipe pins by a full commit. Of a
repository it takes settings, vocabularies and safetensors, of the variant that the recipe names;
never a pickle, never code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.lift.files import recipes_of
from pipeline.adapters.diffusers.errors import first_line
from pipeline.adapters.diffusers.hub import commit_of, is_repository
from pipeline.model_check import check_models
from pipeline.recipe import FullRecipe, load_recipe
from schemas.errors import RunError
from schemas.models import AnyModel, DiffusersModel

WANTED: Final = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors")
"""All that is ever read of a repository."""

UNWANTED: Final = ("*.onnx*", "*flax*", "*.msgpack", "*openvino*")


@dataclass(frozen=True)
class Wanted:
    """A repository that a model needs, and which of its files."""

    repo: str
    revision: str | None
    files: tuple[str, ...] = WANTED
    unwanted: tuple[str, ...] = UNWANTED


def check(recipe_path: Path, console: Console) -> None:
    """A table of the models; RecipeError with everything that does not fit."""
    recipe = load_recipe(recipe_path)
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("model", "is", "can", "digest"):
        table.add_column(name, overflow="fold")
    for name, card in check_models(recipe).items():
        table.add_row(name, escape(card.about), ", ".join(sorted(card.does)), card.digest)
    console.print(table)


def fetch(recipe_path: Path, console: Console) -> None:
    """Everything into the cache that is not there, of the lift test of `publish:` too; then the
    same check as before a run.
    """
    recipe = load_recipe(recipe_path)
    wanted = dict.fromkeys(one for each in recipes_of(recipe) for one in repositories(each))
    for one in wanted:
        _fetch(one, console)
    if not wanted:
        console.print("no model of this recipe is a repository: there is nothing to fetch")
    check(recipe_path, console)


def repositories(recipe: FullRecipe) -> Iterator[Wanted]:
    """Every repository that the recipe's models name."""
    for spec in recipe.models.values():
        for one in _named(spec):
            if is_repository(one.repo):
                yield one


def _named(spec: AnyModel) -> Iterator[Wanted]:
    if not isinstance(spec, DiffusersModel):
        return
    yield _of_variant(spec)
    if spec.vae is not None:
        yield Wanted(spec.vae.repo, spec.vae.revision)
    for lora in spec.lora:
        yield Wanted(lora.lora, lora.revision, (lora.file,) if lora.file else WANTED)
    for net in spec.controlnet:
        yield Wanted(net.controlnet, net.revision)
        if net.depth_model is not None:
            yield Wanted(net.depth_model.repo, net.depth_model.revision)


def _of_variant(spec: DiffusersModel) -> Wanted:
    """The folders of the pipeline's parts: a repository also holds single files of everything."""
    weights = f"*/*.{spec.variant}*.safetensors" if spec.variant else "*/*.safetensors"
    settings = [pattern for pattern in WANTED if pattern != "*.safetensors"]
    other = () if spec.variant else ("*.fp16*", "*.bf16*", "*non_ema*")
    return Wanted(spec.diffusers, spec.revision, (*settings, weights), (*UNWANTED, *other))


def _fetch(one: Wanted, console: Console) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    commit = commit_of(one.repo, one.revision)
    console.print(f"{one.repo} at {commit}", highlight=False)
    try:
        snapshot_download(
            one.repo,
            revision=commit,
            allow_patterns=list(one.files),
            ignore_patterns=list(one.unwanted),
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        says = f"{one.repo} at {commit}: cannot be fetched: {first_line(error)}"
        raise RunError(says) from None
