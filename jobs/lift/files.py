"""The lift test that a recipe's `publish:` names: the files that belong to it, and its models.

Publishing trains two arms, the test's baseline and the run itself (`jobs.run.verdict`). So the
baseline's models have to be wherever the recipe runs, and those that the test's own file names,
whose training data its leak check looks at. The recipes of the other arms are files of the test all
the same: with them it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.config import load_config
from pipeline.recipe import FullRecipe, load_recipe
from schemas.models import NativeModel
from schemas.recipe import Source

if TYPE_CHECKING:
    from pipeline.lift.config import LiftConfig


@dataclass(frozen=True)
class LiftTest:
    """The file, by the path in the recipe, and what is in it."""

    path: str
    config: LiftConfig

    @property
    def files(self) -> list[str]:
        """Its own, those of its arms' recipes, and the files that these have to have to be read;
        RecipeError where one is no recipe.
        """
        recipes = [arm.recipe for arm in self.config.arms.values() if arm.recipe is not None]
        published = [load_recipe(path).publish for path in recipes]
        named = [self.path, *recipes, *(one.lift for one in published if one is not None)]
        for path in tuple(named):
            named += _prompt_files(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
        return list(dict.fromkeys(named))

    def needs(self, recipe: FullRecipe) -> dict[str, FullRecipe]:
        """Recipes with the models that have to be there when this one is published, by the file
        that names them: those of the test itself, what its denoisers begin with among them, and
        those of its baseline.
        """
        config, arm = self.config, self.config.arms[self.config.baseline]
        begun = {
            name: NativeModel(native=training.init)
            for name, training in config.denoisers.items()
            if training.init is not None
        }
        own = recipe.model_copy(update={"models": {**config.models, **begun}})
        found = {self.path: own}
        return found if arm.recipe is None else found | {arm.recipe: load_recipe(arm.recipe)}

    @property
    def sources(self) -> Iterator[tuple[str, Source]]:
        """All that it reads, by its place in the file."""
        yield "data", self.config.data
        yield "validation", self.config.validation
        for name, training in self.config.denoisers.items():
            if training.unlabelled is not None:
                yield f"denoisers.{name}.unlabelled", training.unlabelled

    @property
    def sinks(self) -> Iterator[tuple[str, str]]:
        """What it writes to, and the sink that its baseline is read from, by their places."""
        yield "out", self.config.out
        arm = self.config.arms[self.config.baseline]
        if arm.sink is not None:
            yield f"arms.{self.config.baseline}.sink", arm.sink


def lift_test_of(recipe: FullRecipe) -> LiftTest | None:
    """That of `publish:`; None where the recipe has none."""
    if recipe.publish is None:
        return None
    from pipeline.lift.config import LiftConfig

    return LiftTest(recipe.publish.lift, load_config(recipe.publish.lift, LiftConfig))


def recipes_of(recipe: FullRecipe) -> tuple[FullRecipe, ...]:
    """The recipe, and those with the models that its lift test needs besides."""
    test = lift_test_of(recipe)
    return (recipe,) if test is None else (recipe, *test.needs(recipe).values())


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
