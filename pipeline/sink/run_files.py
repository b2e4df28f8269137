"""The files of a run beside its rows: `runs/<run>.plan.json`, written before its first chunk, and
`runs/<run>.json`, its record, written last. Here is what others than the run itself read of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.index.files import sink_errors
from pipeline.storage.store import Store
from schemas.errors import SinkError

RUNS: Final = "runs"
PLAN_END: Final = ".plan.json"


def plan_path(run: str) -> str:
    """Where a run's plan is."""
    return f"{RUNS}/{run}{PLAN_END}"


def record_path(run: str) -> str:
    """Where a finished run's record is."""
    return f"{RUNS}/{run}.json"


@dataclass(frozen=True)
class Outcomes:
    """What became of copies."""

    kept: int = 0
    rejected: int = 0
    failed: int = 0

    @property
    def attempted(self) -> int:
        """All of them."""
        return self.kept + self.rejected + self.failed

    def times(self, factor: float) -> Outcomes:
        """As many, of so many times as many copies."""
        return Outcomes(*(round(n * factor) for n in (self.kept, self.rejected, self.failed)))


class PlannedChunk(BaseModel):
    """One chunk in a plan file."""

    id: str
    samples: int
    copies: tuple[int, ...] | None = None

    def attempts(self, copies: int) -> int:
        """How many copies were planned; `copies` is the recipe's."""
        return self.samples * copies if self.copies is None else sum(self.copies)


class _Tracking(BaseModel):
    uri: str | None = None


class PlanOutline(BaseModel):
    """How much a run plans to do. `recipe` is as it stands there, unchecked: that is quick."""

    recipe: dict[str, Any]
    chunks: tuple[PlannedChunk, ...]
    tracking: _Tracking = _Tracking()

    def due(self) -> dict[str, int]:
        """The copies of each chunk of which any are planned: others made all of the rest before."""
        each = int(self.recipe.get("copies", 1))
        copies = {chunk.id: chunk.attempts(each) for chunk in self.chunks}
        return {chunk: many for chunk, many in copies.items() if many}


class _Session(BaseModel):
    images: int
    seconds: float


class _Cost(BaseModel):
    samples: int
    seconds: float
    gpu_seconds: float


class _Verdict(BaseModel):
    verdict: str


class _Mlflow(BaseModel):
    run: str | None = None
    uri: str | None = None


class _Named(BaseModel):
    run: str


class RunRecord(BaseModel):
    """What came of a run. Runs that are made of another one's rows name it: `regate`, `follows`."""

    counts: Outcomes
    finished: datetime
    last_session: _Session | None = None
    cost: _Cost | None = None
    verdict: _Verdict | None = None
    mlflow: _Mlflow = _Mlflow()
    regate: _Named | None = None
    follows: _Named | None = None
    versions: dict[str, str] = {}


ModelT = TypeVar("ModelT", bound=BaseModel)


def read_run_file(store: Store, path: str, model: type[ModelT]) -> ModelT | None:
    """None where there is no such file; SinkError where it is something else."""
    with sink_errors(store):
        try:
            return model.model_validate_json(store.read(path))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise SinkError(f"{store.at(path)}: not as noiseloom writes it: {place}") from None


def run_file_if_sound(store: Store, path: str, model: type[ModelT]) -> ModelT | None:
    """None also where it is something else, for those who go on without it."""
    try:
        return read_run_file(store, path, model)
    except SinkError:
        return None
