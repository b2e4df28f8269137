"""A run's plan file, `runs/<run>.plan.json`, read back: recipe, chunks, and whose rows it holds.

How much is planned, without the recipe, is quicker to have: `pipeline.sink.run_files`.
"""

from __future__ import annotations

from pydantic import BaseModel

from jobs.run.plan import Retry
from pipeline.gates import AnyGate
from pipeline.recipe import FullRecipe
from pipeline.sink.run_files import PlannedChunk
from schemas.recipe import Tracking


class PlannedShard(BaseModel):
    """One source shard in a plan file, by its URL and its content."""

    url: str
    content: str


class Regate(BaseModel):
    """What makes a run a regated one: whose rows it holds, and the gates that judged them again."""

    run: str
    gates: tuple[AnyGate, ...]


class Follows(BaseModel):
    """What makes a run one without samples that are gone: whose rows it holds, of which night it
    is, and the run that it was taken from, the origin or that under other gates.
    """

    run: str
    base: str
    night: str


class PlanFile(BaseModel):
    """What is needed of `runs/<run>.plan.json`."""

    digest: str
    recipe: FullRecipe
    models: dict[str, str]
    chunks: tuple[PlannedChunk, ...]
    source: tuple[PlannedShard, ...] = ()
    tracking: Tracking = Tracking(uri=None)
    retry: Retry | None = None
    known: tuple[str, ...] = ()
    regate: Regate | None = None
    follows: Follows | None = None

    @property
    def origin(self) -> str | None:
        """The run whose rows these are; None where the run made its copies itself."""
        of = self.regate or self.follows
        return None if of is None else of.run

    @property
    def attempts(self) -> int:
        """Copies of all samples together."""
        return sum(chunk.attempts(self.recipe.copies) for chunk in self.chunks)
