"""Recipe files: the contract of `schemas.recipe` put together with the ops and gates there are.

`load_recipe` checks everything that the file alone can tell, and says every mistake on one screen,
before anything starts; what the models tell is checked in `pipeline/model_check.py`. No torch, no
ray.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.config import load_config, read_document, report, validate
from pipeline.gates import AnyGate
from pipeline.ops import AnyOp
from pipeline.problems import Place, Problem, listed, nearest, shown
from schemas.errors import RecipeError
from schemas.recipe import Recipe

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")

FullRecipe = Recipe[AnyOp, AnyGate]
"""A recipe with every op and gate that noiseloom has."""


def load_recipe(path: str | Path) -> FullRecipe:
    """The recipe in this file; RecipeError with all mistakes, their places and what is legal."""
    document = read_document(path)
    recipe = validate(document, FullRecipe)
    problems = [
        *_secrets(recipe),
        *_odd_names(recipe),
        *_unknown_models(recipe),
        *_unknown_classes(recipe),
        *_uncounted_classes(recipe),
        *_impossible_pools(recipe),
        *_taken_suffix(recipe),
        *_unfit_lift(recipe),
    ]
    if problems:
        raise RecipeError(report(document.name, problems, document.lines))
    return recipe


def _uses(recipe: FullRecipe) -> Iterator[tuple[Place, str]]:
    """Every place that names a model, and the name."""
    for kind, steps in (("ops", recipe.ops), ("gates", recipe.gates)):
        for i, step in enumerate(steps):
            if step.model_name is not None:
                yield (kind, i, "model"), step.model_name


def _secrets(recipe: FullRecipe) -> Iterator[Problem]:
    """These URLs are written into plan and index: nothing that signs somebody in may be in them."""
    for place, url in _places(recipe):
        _, remote, rest = url.partition("://")
        if "@" in rest.partition("/")[0]:
            says = "names a user or a password; they belong in the environment of the process"
            yield Problem(place, says)
        elif remote and ("?" in rest or "#" in rest):
            says = (
                "has a query, which may be a signature; sign in by the environment of the process"
            )
            yield Problem(place, says, ("the place alone: everything before the ? or #",))


def _places(recipe: FullRecipe) -> Iterator[tuple[Place, str]]:
    """Every place that the recipe reads from or writes to, and where it is named."""
    yield ("sink",), recipe.sink
    yield from ((("source", "shards", i), url) for i, url in enumerate(recipe.source.shards))


def _odd_names(recipe: FullRecipe) -> Iterator[Problem]:
    """Suffixes become names in tars, models' names those of parameters in MLflow; no store takes
    control characters.
    """
    for place, url in _places(recipe):
        if not url.isprintable():
            yield Problem(place, f"is {shown(url)}, with characters that no name has")
    source = recipe.source
    suffixes: list[tuple[Place, str | None]] = [
        *((("source", "image", i), suffix) for i, suffix in enumerate(source.image)),
        (("source", "labels"), source.labels),
        (("source", "segmentation"), source.segmentation),
    ]
    for place, suffix in suffixes:
        if suffix is not None and not _NAME.fullmatch(suffix):
            hint = ("as it stands in the tar, without the first dot: jpg, json, seg.png",)
            yield Problem(place, f"is {shown(suffix)}, no suffix of a file", hint)
    for name in recipe.models:
        if not _NAME.fullmatch(name):
            hint = ("letters, digits, and _ . - between them; 64 at most",)
            yield Problem(("models",), f"{shown(name)} is not the name of a model", hint)


def _unknown_models(recipe: FullRecipe) -> Iterator[Problem]:
    names = list(recipe.models)
    for place, name in _uses(recipe):
        if name not in recipe.models:
            hints = (*nearest(name, names), f"names under models: {listed(names)}")
            yield Problem(place, f"there is no model {shown(name)}", hints)


def _unknown_classes(recipe: FullRecipe) -> Iterator[Problem]:
    """Classes that an op names, against those of the source, where the recipe names these."""
    legal = recipe.source.classes
    for i, op in enumerate(recipe.ops):
        for j, name in enumerate(getattr(op, "classes", None) or ()):
            if legal is not None and name not in legal:
                hints = (*nearest(name, legal), f"source.classes: {listed(legal)}")
                yield Problem(("ops", i, "classes", j), f"there is no class {shown(name)}", hints)


def _uncounted_classes(recipe: FullRecipe) -> Iterator[Problem]:
    """Rare classes are counted in the labels files."""
    if recipe.budget.rare is not None and recipe.source.labels is None:
        says = "counts the classes in the labels files, and source.labels is null"
        yield Problem(("budget", "rare"), says)


def _impossible_pools(recipe: FullRecipe) -> Iterator[Problem]:
    from pipeline.stages import pool_problems  # which knows recipes

    yield from pool_problems(recipe)


def _taken_suffix(recipe: FullRecipe) -> Iterator[Problem]:
    """An image must not be written over its labels."""
    suffix, source = recipe.output.suffix, recipe.source
    for name in ("labels", "segmentation"):
        if getattr(source, name) == suffix:
            says = f"images would be written as .{suffix}, which source.{name} names"
            yield Problem(("output", "format"), says, ("take another format",))


def _unfit_lift(recipe: FullRecipe) -> Iterator[Problem]:
    """The lift test that publishing asks for: it is there, and reads copies as it reads images."""
    if recipe.publish is None:
        return
    from pipeline.lift.config import LiftConfig  # which knows ops and gates

    place: Place = ("publish", "lift")
    try:
        data = load_config(recipe.publish.lift, LiftConfig).data
    except RecipeError as error:
        first, *others = str(error).splitlines()
        yield Problem(place, first, tuple(line.strip() for line in others))
        return
    for name in ("labels", "segmentation", "classes", "seg_classes"):
        theirs, ours = getattr(data, name), getattr(recipe.source, name)
        anything = ours is None and name in ("classes", "seg_classes")
        if theirs is not None and theirs != ours and not anything:
            says = f"its data.{name} is {shown(theirs)}, and source.{name} is {shown(ours)}"
            yield Problem(place, says, ("a student reads the copies as it reads the images",))


def needs_known(recipe: FullRecipe) -> bool:
    """Whether a gate of the recipe asks for all images of the source (`pipeline/known`)."""
    return any(gate.needs_known for gate in recipe.gates)


def needs_peers(recipe: FullRecipe) -> bool:
    """Whether an op of the recipe looks at other samples of the chunk."""
    return any(op.needs_peers for op in recipe.ops)
