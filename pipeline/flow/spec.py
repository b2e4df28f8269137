"""What every stage of one run needs to know; it travels to all workers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pipeline.recipe import FullRecipe


@dataclass(frozen=True)
class FlowSpec:
    """One start of one run. `session` names it in the journal of attempts; `attempts` are the
    copies of the whole run, `known` the files of fingerprints in the sink.
    """

    run: str
    recipe_digest: str
    recipe_json: str
    sink: str
    session: str
    attempts: int
    known: tuple[str, ...] = ()

    @cached_property
    def recipe(self) -> FullRecipe:
        """The recipe, parsed once per process: generic pydantic models do not pickle by name."""
        return FullRecipe.model_validate_json(self.recipe_json)
