"""`noiseloom status`: jobs and runs in one table, from the cluster and from the sinks.

What is asked for is a job, a sink, or, with nothing named, every job of the cluster. The sink says
how far a run is, the cluster whether anybody works on it: where the cluster is gone, the sink alone
tells. A job and a run belong together where the run's plan holds the recipe that was submitted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.cluster.api import Job, Jobs, find_job, job_digest
from jobs.run.live import clock
from pipeline.index.files import open_sink, sink_there
from pipeline.sink.progress import Progress, progress_of, runs_in
from schemas.errors import NoiseloomError

WIDE: Final = 120
NARROW: Final = 90
"""Columns of a terminal: there the names of runs need all the room."""

_LIVE: Final = ("planned", "under way", "committed")


@dataclass(frozen=True)
class Line:
    """A run, and the job that works or worked on it; one of them may not be there, or cannot be
    read (`trouble`).
    """

    job: Job | None = None
    progress: Progress | None = None
    trouble: str | None = None


def is_sink(name: str) -> bool:
    """Whether this names a sink, and not a job: a URL, a path, or something that is there."""
    return "/" in name or Path(name).exists()


def sink_lines(sink: str, jobs: Sequence[Job] = ()) -> list[Line]:
    """Every run of the sink, the one that changed last at the end; with the jobs of the cluster, if
    it was asked.
    """
    store = sink_there(sink)
    here = [job for job in jobs if _same(job.metadata.get("sink"), sink)]
    found = progress_of(store, runs_in(store))
    lines = [Line(_job_of(one, here), one) for one in found]
    told = {line.job.id for line in lines if line.job is not None}
    waiting = [job for job in here if job.id not in told and not job.over]
    return [*lines, *(Line(job) for job in waiting)]


def job_lines(jobs: Iterable[Job]) -> list[Line]:
    """The newest run of each of these jobs, as its sink knows it."""
    return [_line_of(job) for job in jobs]


def _line_of(job: Job) -> Line:
    sink = job.metadata.get("sink")
    if sink is None:
        return Line(job)
    own = re.compile(rf"{re.escape(job.metadata['recipe'])}-[0-9a-f]{{8}}")
    try:
        store = open_sink(sink)
        found = progress_of(store, [run for run in runs_in(store) if own.fullmatch(run)])
    except NoiseloomError as error:
        return Line(job, trouble=str(error))
    mine = [one for one in found if _belongs(one, job)]
    return Line(job, mine[-1] if mine else None)


def status(jobs: Jobs, name: str | None) -> list[Line]:
    """Of one job, or of all that were submitted by noiseloom."""
    if name is not None:
        return job_lines([find_job(jobs, name)])
    return job_lines(job for job in jobs.all() if "recipe" in job.metadata)


def _same(one: str | None, other: str) -> bool:
    if one is None or "://" in one:
        return one is not None and one.rstrip("/") == other.rstrip("/")
    return Path(one).absolute() == Path(other).absolute()


def _job_of(one: Progress, jobs: Sequence[Job]) -> Job | None:
    """The newest job that runs what this run's plan holds."""
    mine = [job for job in jobs if _belongs(one, job)]
    return mine[-1] if mine else None


def _belongs(one: Progress, job: Job) -> bool:
    return one.recipe is not None and job_digest(dict(one.recipe)) == job.metadata.get("digest")


def wide_console() -> Console:
    """Stdout; in a file or a pipe wide enough for the table."""
    return Console() if sys.stdout.isatty() else Console(width=WIDE)


def print_lines(
    lines: Sequence[Line], console: Console, otherwise: str = "", now: datetime | None = None
) -> None:
    """The table, and below it where MLflow is, and what went wrong; `otherwise` without a line."""
    if not lines:
        console.print(otherwise, markup=False, highlight=False, soft_wrap=True)
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, int(console.width > NARROW), 0, 0))
    for name in ("run, job", "state"):
        table.add_column(name, overflow="fold")
    for name in ("chunks", "img/s", "kept", "rejected", "failed", "left", "changed"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(*_cells(line, now or datetime.now(UTC)))
    console.print(table)
    for line in lines:
        for text in (*_links(line), *_troubles(line)):
            console.print(text, markup=False, highlight=False, soft_wrap=True)


def _cells(line: Line, now: datetime) -> list[str]:
    job, one = line.job, line.progress
    names = [one.run if one else "", job.id if job else ""]
    states = [one.state if one else "", job.state.lower() if job else ""]
    cells = ["\n".join(filter(None, names)), "\n".join(filter(None, states))]
    if one is None:
        return [*map(escape, cells), *[""] * 7]
    about = "~" if one.estimated else ""
    counts = [f"{about}{n}" for n in (one.counts.kept, one.counts.rejected, one.counts.failed)]
    live = one.state in _LIVE and (job is None or not job.over)
    return [
        *map(escape, cells),
        f"{one.committed}/{'?' if one.chunks is None else one.chunks}",
        "" if one.rate is None else f"{one.rate:.1f}",
        *counts,
        clock(one.left_s) if live and one.left_s is not None else "",
        "" if one.changed is None else _ago(now, one.changed),
    ]


def _links(line: Line) -> Iterable[str]:
    job, one = line.job, line.progress
    if one is not None and one.mlflow is not None:
        yield f"{one.run}: MLflow {one.mlflow}"
    elif one is None and job is not None and "mlflow" in job.metadata:
        yield f"{job.id}: MLflow {job.metadata['mlflow']}"


def _troubles(line: Line) -> Iterable[str]:
    if line.trouble is not None:
        yield line.trouble
    job = line.job
    if job is not None and job.state in ("FAILED", "PENDING") and job.message:
        yield f"{job.id}: {_telling(job.message)}"


def _telling(message: str) -> str:
    """Of a failed command's last lines the last, which is the one with the reason."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if "last available logs" in message else lines[0]


def _ago(now: datetime, then: datetime) -> str:
    seconds = max(0.0, (now - then).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
