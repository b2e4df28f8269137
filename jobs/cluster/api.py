"""What noiseloom asks of a cluster's job server, and no more: `Jobs`, which Ray's client fulfils in
`ray_jobs.py`, and a fake in the tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from pipeline.problems import nearest
from pipeline.storage.secrets import without_secrets
from schemas.errors import ClusterError
from schemas.recipe import digest_of

if TYPE_CHECKING:
    from pipeline.recipe import FullRecipe

JobState = Literal["PENDING", "RUNNING", "STOPPED", "FAILED", "SUCCEEDED"]

_OVER: Final = ("STOPPED", "FAILED", "SUCCEEDED")

STOP_S: Final = 30
"""Between SIGTERM and SIGKILL; Ray's 3 are too few to stop in order (`jobs/stopping.py`)."""

_AROUND: Final = frozenset(("resources", "tracking", "budget", "publish"))


@dataclass(frozen=True)
class Job:
    """One job, as the cluster knows it. `exit_code` is the command's, where that has ended."""

    id: str
    state: JobState
    message: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    started: datetime | None = None
    exit_code: int | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state in _OVER


@dataclass(frozen=True)
class Order:
    """A job to start: a shell command in a copy of `folder`, with these environment variables. With
    `cpus` and `memory` (bytes) at 0 it is started on the head, which needs neither for it; never
    does it ask for a GPU.
    """

    id: str
    command: str
    folder: Path
    metadata: Mapping[str, str]
    variables: Mapping[str, str]
    cpus: float = 0
    memory: int = 0


class Jobs(Protocol):
    """The jobs of one cluster. Every method raises ClusterError where the cluster does not answer,
    or lets nobody in.
    """

    @property
    def address(self) -> str:
        """Of the job server, for messages."""

    def submit(self, order: Order) -> bool:
        """Starts a job; False, and nothing started, where one of this id is known."""

    def all(self) -> list[Job]:
        """Every submitted job that the cluster remembers, the oldest first."""

    def stop(self, job: str) -> None:
        """Asks a job to end in order, and returns before it has. One that has ended stays so."""

    def log(self, job: str) -> str:
        """All that the job has said."""

    def tail(self, job: str) -> Iterator[str]:
        """What it says, from the first line on, until it has ended; "" now and then when it says
        nothing, so that whoever listens can look up.
        """


def find_job(jobs: Jobs, name: str) -> Job:
    """The job of this id, or the newest of the recipe of this name; ClusterError with what there
    is.
    """
    known = jobs.all()
    for job in known:
        if job.id == name:
            return job
    of_recipe = [job for job in known if job.metadata.get("recipe") == name]
    if of_recipe:
        return of_recipe[-1]
    ids = [job.id for job in known]
    there = f"the newest are {', '.join(ids[-3:])}" if ids else "it knows none at all"
    hint = " ".join(nearest(name, ids)) or there
    raise ClusterError(f"{jobs.address}: no job {name!r}; {hint}")


def family(jobs: list[Job], base: str) -> list[Job]:
    """The jobs called `base`, `base-2`, `base-3`, ..., in the order of their numbers."""
    named = re.compile(rf"{re.escape(base)}(?:-([1-9][0-9]*))?")
    found = [(int(m[1] or 1), job) for job in jobs if (m := named.fullmatch(job.id)) is not None]
    return [job for _, job in sorted(found, key=lambda pair: pair[0])]


def job_digest(recipe: dict[str, Any]) -> str:
    """8 hex digits over a recipe, as plain values: what it reads, makes and writes; not how fast,
    and who is told. A run's plan holds the same values, and so leads back to its job.
    """
    return digest_of({key: recipe[key] for key in recipe if key not in _AROUND})[:8]


def job_metadata(name: str, recipe: FullRecipe) -> dict[str, str]:
    """What the cluster is told of a job that runs this recipe: enough to find its run."""
    said = {
        "recipe": name,
        "digest": job_digest(recipe.model_dump(mode="json")),
        "sink": recipe.sink,
    }
    if recipe.tracking.uri is not None:
        said["mlflow"] = without_secrets(recipe.tracking.uri)
    return said
