"""`noiseloom run RECIPE.yaml`: the whole way, from source shards to a published run.

Start it again after a kill: what is committed is not done again, and the result is that of an
undisturbed run. Where nothing is left to do, neither Ray nor a model is started. A run whose share
of failed copies passes its budget stops, unpublished; with a larger budget it goes on from there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import pyarrow as pa
from rich.console import Console

from jobs.counts import Counts, check_conserved, counts_of
from jobs.live import Pace, Tally, live_view
from jobs.plan import RunPlan, make_plan, write_plan
from jobs.record import record_exists, versions, write_record
from jobs.sheet import write_sheet
from jobs.summary import print_plan, print_summary
from jobs.tracking import Tracker, tracked
from pipeline.sink import committed, pending_runs, publish, published_runs, read_index
from pipeline.source import Chunk
from schemas.errors import RunError
from schemas.index import INDEX_SCHEMA
from schemas.recipe import digest_of

ENOUGH: Final = 20
"""Copies before a share of failures means something; at the end of a run any number does."""


def dry_run(path: str | Path, console: Console) -> None:
    """Validates everything, prints the plan and the digest; loads no model and writes nothing."""
    planned = make_plan(path)
    print_plan(planned, committed(planned.store, planned.run), console)


def augment(path: str | Path, console: Console) -> None:
    """Runs, or resumes, this recipe."""
    planned = make_plan(path)
    done = committed(planned.store, planned.run)
    missing = [chunk for chunk in planned.chunks if chunk.id not in done]
    if not missing and not _unfinished(planned):
        many = len(planned.chunks)
        console.print(f"{planned.run}: nothing to do, all {many} chunks are published")
        return
    console.print(_opening(planned, len(missing)), highlight=False)
    write_plan(planned)
    with tracked(planned.recipe.tracking, planned, versions(), console) as tracker:
        pace = _weave(planned, missing, tracker, console) if missing else Pace(0, 0.0)
        _finish(planned, pace, tracker, console)


def _unfinished(planned: RunPlan) -> bool:
    """All chunks are there, but a kill came before, in or after the publishing."""
    store, run = planned.store, planned.run
    if run in pending_runs(store):
        return True
    return run in published_runs(store) and not record_exists(store, run)


def _opening(planned: RunPlan, missing: int) -> str:
    chunks, copies = len(planned.chunks), planned.samples * planned.recipe.copies
    found = f", {chunks - missing} of them committed before" if missing < chunks else ""
    return f"{planned.run}: {planned.samples} samples, {copies} copies, {chunks} chunks{found}"


def _weave(
    planned: RunPlan, missing: Sequence[Chunk], tracker: Tracker, console: Console
) -> Pace:
    """The missing chunks, woven and committed; the pace of this session."""
    from jobs.ray_session import ray_session

    tally = _tally(planned, missing)
    begun = tally.attempted
    with console.status("starting Ray"):
        session = ray_session(num_cpus=_cores() + 1)
        session.__enter__()
    return Pace(begun, 0)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
