"""`noiseloom submit RECIPE.yaml`: the recipe as a job of a Ray cluster, one at a time.

The job runs `noiseloom run` in the environment that the cluster's nodes have; what it needs besides
travels with it (`package.py`). It is called after the recipe and a digest of what shapes its
output: while a job of that name has not ended, submitting it again starts nothing. The job server
itself refuses a name that is taken, so that this holds for two who submit at the same moment, too.
"""

from __future__ import annotations

import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from jobs.cluster.api import STOP_S, Job, Jobs, Order, family, job_metadata
from jobs.travel import Package
from pipeline.flow.reach import SHARED_FOLDERS
from schemas.errors import BusyError, ClusterError

_TRIES: Final = 5


@dataclass(frozen=True)
class Driver:
    """What the process that runs the recipe asks for. Nothing: then it is started on the head."""

    cpus: float = 0
    memory: int = 0


def submit(
    jobs: Jobs,
    package: Package,
    console: Console,
    driver: Driver | None = None,
    shared: tuple[str, ...] = (),
) -> str:
    """Starts the job and returns its id; BusyError where it runs already."""
    driver = driver or Driver()
    metadata = job_metadata(package.file.stem, package.recipe)
    base = f"{metadata['recipe']}@{metadata['digest']}"
    variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S)}
    if shared:
        variables[SHARED_FOLDERS] = ":".join(shared)
    with tempfile.TemporaryDirectory(prefix="noiseloom-") as name:
        folder = Path(name)
        package.write(folder)
        for _ in range(_TRIES):
            job = _free_id(jobs, base)
            order = Order(
                job, _command(package), folder, metadata, variables, driver.cpus, driver.memory
            )
            if jobs.submit(order):
                console.print(f"{job}: submitted to {jobs.address}", highlight=False)
                return job
    raise ClusterError(f"{jobs.address}: {base}: somebody else submits it, again and again")


def _free_id(jobs: Jobs, base: str) -> str:
    """An id that no job has had: Ray does not take one twice, even of a job that is deleted."""
    before = family(jobs.all(), base)
    busy = [job for job in before if not job.over]
    if busy:
        raise BusyError(_busy(busy[-1]))
    if not before:
        return base
    return f"{base}-{_number(before[-1], base) + 1}"


def _number(job: Job, base: str) -> int:
    return int(job.id.removeprefix(base).removeprefix("-") or 1)


def _busy(job: Job) -> str:
    return (
        f"{job.id}: is submitted and {job.state.lower()}; nothing was started. See it: noiseloom "
        f"status {job.id}; end it: noiseloom stop {job.id}"
    )


def _command(package: Package) -> str:
    """For a shell. Models that are repositories are fetched first, as before any other run."""
    recipe = shlex.quote(package.name)
    run = f"exec noiseloom run {recipe}"
    return f"noiseloom models fetch {recipe} && {run}" if package.fetches else run
