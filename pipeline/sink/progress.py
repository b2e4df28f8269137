"""How far the runs of a sink are, from what is in the sink alone: plan, committed chunks, record.

It asks no process and no cluster, so that it can be told during a run, after its kill, and when the
cluster is long gone. How fast a run under way is, the times say at which its chunks were committed.
The work of asking is bounded: of very many committed chunks a part is read, and the counts are
then estimates, which say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

import pyarrow as pa

from pipeline.index.files import (
    PENDING,
    READERS,
    index_batches,
    pending_path,
    published_runs,
    read_table,
    sink_errors,
)
from pipeline.sink.run_files import (
    PLAN_END,
    RUNS,
    Outcomes,
    PlanOutline,
    RunRecord,
    plan_path,
    read_run_file,
    record_path,
)
from pipeline.sink.slots import given_up, owners, read_slots
from pipeline.storage.store import Store

READ_AT_MOST: Final = 2000
"""Committed chunks whose rows are read; a request each."""

RECENT: Final = 50
"""Commits that the pace is taken from: enough to even out, few enough to be of this session."""

PAUSE_S: Final = 1800.0
"""A longer pause between two commits is one between two sessions: what was before does not count
for the pace.
"""

State = Literal["planned", "under way", "committed", "taken over", "published"]
"""`committed`: all chunks are, and the run is not published, yet or by its verdict; `taken over`:
others have published them."""


@dataclass(frozen=True)
class Progress:
    """One run. `chunks` and `copies` are what is planned, None where no plan can be read; of them
    `committed` and `counts` are there. `estimated`: the counts are taken from a part. `rate`, in
    images per second, is of the last commits or the last session. `changed`: the newest commit, or
    the end. `mlflow` links to the run, or names the server. `recipe` is the plan's, as it stands
    there.
    """

    run: str
    state: State
    chunks: int | None
    copies: int | None
    committed: int
    counts: Outcomes
    estimated: bool = False
    rate: float | None = None
    changed: datetime | None = None
    mlflow: str | None = None
    recipe: Mapping[str, Any] | None = None

    @property
    def left_s(self) -> float | None:
        """Seconds that the copies which are still to be made take at this rate."""
        if self.state == "published" or not self.rate or self.copies is None:
            return None
        return max(0, self.copies - self.counts.attempted) / self.rate


def runs_in(store: Store) -> list[str]:
    """Every run that the sink knows of and that is not being given up, sorted."""
    with sink_errors(store):
        names = store.entries(RUNS)
        planned = {name.removesuffix(PLAN_END) for name in names if name.endswith(PLAN_END)}
        known = planned | set(_pending(store)) | set(published_runs(store))
        return sorted(known - given_up(read_slots(store)))


def progress_of(store: Store, runs: Iterable[str]) -> list[Progress]:
    """How far these runs are, the one that changed last at the end."""
    with sink_errors(store):
        pending = _pending(store)  # first: publishing moves them into a slot, and then away
        owner = owners(read_slots(store))
        published = set(published_runs(store))
        found = [_of(store, run, pending.get(run, {}), owner, published) for run in runs]
    return sorted(found, key=lambda one: (one.changed.timestamp() if one.changed else 0, one.run))


def mlflow_link(uri: str | None, mlflow_run: str | None) -> str | None:
    """The page of a run on a server, or where its records are."""
    if uri is None or mlflow_run is None:
        return uri
    server = uri.startswith(("http://", "https://"))
    return f"{uri.rstrip('/')}/#/runs/{mlflow_run}" if server else f"{uri} {mlflow_run}"


def _pending(store: Store) -> dict[str, dict[str, datetime]]:
    """The committed chunks of every run under way, and when each was committed."""
    found: dict[str, dict[str, datetime]] = {}
    for path, time in store.times(PENDING).items():
        run, _, name = path.removeprefix(f"{PENDING}/").partition("/")
        if name.endswith(".parquet"):
            found.setdefault(run, {})[name.removesuffix(".parquet")] = time
    return found


def _of(
    store: Store,
    run: str,
    pending: Mapping[str, datetime],
    owner: Mapping[str, str],
    published: set[str],
) -> Progress:
    plan = read_run_file(store, plan_path(run), PlanOutline)
    record = read_run_file(store, record_path(run), RunRecord)
    if record is not None:
        return _finished(run, plan, record)
    if run in published:
        counts = _counts(b["status"] for b in index_batches(store, run, ["status"]))
        return _ended(run, plan, counts)
    return _under_way(store, run, plan, pending, owner)


def _finished(run: str, plan: PlanOutline | None, record: RunRecord) -> Progress:
    session = record.last_session
    ended = _ended(run, plan, record.counts)
    uri = plan.tracking.uri if plan else None
    return replace(
        ended,
        rate=session.images / session.seconds if session and session.seconds else None,
        changed=record.finished,
        mlflow=mlflow_link(uri, record.mlflow.run),
    )


def _ended(run: str, plan: PlanOutline | None, counts: Outcomes) -> Progress:
    """Published: all chunks are done, by this run or, before it, by another."""
    chunks = None if plan is None else len(plan.due())
    uri = plan.tracking.uri if plan else None
    return Progress(
        run,
        "published",
        chunks,
        counts.attempted,
        chunks or 0,
        counts,
        mlflow=uri,
        recipe=plan.recipe if plan else None,
    )


def _under_way(
    store: Store,
    run: str,
    plan: PlanOutline | None,
    pending: Mapping[str, datetime],
    owner: Mapping[str, str],
) -> Progress:
    mine = sorted(pending, key=lambda chunk: (pending[chunk], chunk))
    read = _spread(mine, READ_AT_MOST)
    counts = _rows(store, run, read)
    partly = len(read) < len(mine)
    if partly:
        counts = counts.times(len(mine) / len(read))
    known = {} if plan is None else plan.due()
    # Chunks that another run has published are done, and their copies are not this run's.
    others = {chunk for chunk in known if chunk in owner and chunk not in pending}
    copies = sum(n for chunk, n in known.items() if chunk not in others)
    done = len(mine) + len(others)
    over = plan is not None and done == len(known)
    states: tuple[State, State] = ("taken over", "committed") if over else ("planned", "under way")
    return Progress(
        run,
        states[bool(mine)],
        len(known) if plan else None,
        copies if plan else None,
        done,
        counts,
        partly,
        _rate([(pending[chunk], known.get(chunk, 0)) for chunk in mine]),
        pending[mine[-1]] if mine else None,
        plan.tracking.uri if plan else None,
        recipe=plan.recipe if plan else None,
    )


def _rate(commits: Sequence[tuple[datetime, int]]) -> float | None:
    """Images per second over the last commits of one session; None where there are too few, or the
    store's clock is too coarse to tell.
    """
    recent = list(commits[-RECENT:])
    start = 0
    for i in range(1, len(recent)):
        if (recent[i][0] - recent[i - 1][0]).total_seconds() > PAUSE_S:
            start = i
    session = recent[start:]
    if len(session) < 2:
        return None
    seconds = (session[-1][0] - session[0][0]).total_seconds()
    images = sum(copies for time, copies in session[1:])  # the first one's work was before it
    return images / seconds if seconds > 0 and images else None


def _spread(chunks: Sequence[str], most: int) -> list[str]:
    """At most so many of them, evenly from the first to the last."""
    if len(chunks) <= most:
        return list(chunks)
    return [chunks[i * len(chunks) // most] for i in range(most)]


def _rows(store: Store, run: str, chunks: Sequence[str]) -> Outcomes:
    def statuses(chunk: str) -> pa.ChunkedArray | None:
        try:
            return read_table(store, pending_path(run, chunk), ["status"])["status"]
        except FileNotFoundError:
            return None  # published since it was listed

    with ThreadPoolExecutor(READERS) as pool:
        columns = list(pool.map(statuses, chunks))
    return _counts(column for column in columns if column is not None)


def _counts(columns: Iterable[pa.Array | pa.ChunkedArray]) -> Outcomes:
    found = {"kept": 0, "rejected": 0, "failed": 0}
    for column in columns:
        for entry in column.value_counts().to_pylist():
            found[entry["values"]] += entry["counts"]
    return Outcomes(**found)
