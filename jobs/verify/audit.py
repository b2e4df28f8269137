"""What `noiseloom verify` checks of the runs in a sink: their files, and that nothing is lost or
twice. What it checks of the tars is in `tars.py`.

Every check yields findings and goes on: one damaged file does not hide another. Slugs:

    unreadable_index, no_plan, no_record          a run's own files
    chunk_incomplete, chunk_missing, chunk_unplanned, counts_differ, copy_twice    conservation
    chunk_twice, foreign_rows                     published by two runs, or under another's name
    regate_differs, follow_differs                not what is made of its origin's rows
    slots_unreadable, slot_without_index, slot_differs    the order of the sink
    unreferenced_shard, run_unfinished            notes: what a killed or a running job leaves
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from typing import Final

import pyarrow as pa

from jobs.run.plan_file import Follows, PlanFile, Regate
from pipeline.regate import judged_again
from pipeline.sink.run_files import Outcomes, RunRecord, plan_path, record_path
from pipeline.sink.slots import Slot
from schemas.index import IndexRow, rows_to_table, table_to_rows

NOTES: Final = frozenset({"unreferenced_shard", "run_unfinished"})


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be: where, a fixed slug, and what exactly."""

    where: str
    slug: str
    detail: str

    @property
    def harmless(self) -> bool:
        """Whether nothing that is published is touched by it."""
        return self.slug in NOTES


@dataclass(frozen=True)
class Run:
    """One run in a sink, as far as it can be read."""

    name: str
    published: bool
    rows: tuple[IndexRow, ...]
    plan: PlanFile | None
    record: RunRecord | None

    @property
    def regate(self) -> Regate | None:
        """The gates that judged its copies again, if any did."""
        return None if self.plan is None else self.plan.regate

    @property
    def follows(self) -> Follows | None:
        """The run of which it holds what is still in the source, if it does."""
        return None if self.plan is None else self.plan.follows

    @property
    def origin(self) -> str | None:
        """The run whose rows these are; None where the run made its copies itself."""
        return None if self.plan is None else self.plan.origin


def check_run(run: Run, published_chunks: frozenset[str]) -> Iterator[Finding]:
    """Conservation: the rows of a run against its plan and its record."""
    if run.plan is None:
        yield Finding(run.name, "no_plan", f"{plan_path(run.name)} cannot be read")
    elif run.follows is None:
        yield from _check_chunks(run, run.plan, published_chunks)
    seen = Counter((row.chunk, row.source_key, row.copy) for row in run.rows)
    for (chunk, key, copy), times in seen.items():
        if times > 1:
            yield Finding(f"{run.name}: {key}", "copy_twice", f"copy {copy}, chunk {chunk}")
    foreign = sorted({row.run for row in run.rows} - {run.name})
    if foreign:
        yield Finding(run.name, "foreign_rows", f"its index holds rows of {', '.join(foreign)}")
    if not run.published:
        yield Finding(run.name, "run_unfinished", "not published; start it again to go on")
    elif run.record is None:
        yield Finding(run.name, "no_record", f"{record_path(run.name)}: start the run again")
    elif (counts := status_counts(run.rows)) != run.record.counts:
        detail = f"the index has {_told(counts)}; the record {_told(run.record.counts)}"
        yield Finding(run.name, "counts_differ", detail)


def status_counts(rows: Sequence[IndexRow]) -> Outcomes:
    """Copies by status."""
    count = Counter(row.status for row in rows)
    return Outcomes(kept=count["kept"], rejected=count["rejected"], failed=count["failed"])


def _told(counts: Outcomes) -> str:
    return ", ".join(f"{name} {n}" for name, n in asdict(counts).items())


def _check_chunks(run: Run, plan: PlanFile, published: frozenset[str]) -> Iterator[Finding]:
    found = Counter(row.chunk for row in run.rows)
    for chunk in plan.chunks:
        rows, expected = found.pop(chunk.id, None), chunk.attempts(plan.recipe.copies)
        if rows is None and chunk.id not in published and run.published and expected:
            yield Finding(f"{run.name}: {chunk.id}", "chunk_missing", "planned, and in no run")
        elif rows not in (None, expected):
            detail = f"{rows} rows for {chunk.samples} samples, expected {expected}"
            yield Finding(f"{run.name}: {chunk.id}", "chunk_incomplete", detail)
    for chunk_id, rows in found.items():
        yield Finding(f"{run.name}: {chunk_id}", "chunk_unplanned", f"{rows} rows")


def check_order(runs: Sequence[Run], slots: Sequence[Slot]) -> Iterator[Finding]:
    """Each published chunk belongs to one run, the one whose slot names it. The rows of a run that
    supersedes another are those of its origin.
    """
    regated = {run.name: run.origin for run in runs if run.origin is not None}
    published = {
        run.name: {row.chunk for row in run.rows}
        for run in runs
        if run.published and run.name not in regated
    }
    pending = {run.name: {row.chunk for row in run.rows} for run in runs if not run.published}
    times = Counter(chunk for chunks in published.values() for chunk in chunks)
    for chunk in (chunk for chunk, n in times.items() if n > 1):
        names = ", ".join(name for name, chunks in published.items() if chunk in chunks)
        yield Finding(chunk, "chunk_twice", f"published by {names}")
    by_run = {slot.run: set(slot.chunks) for slot in slots if slot.event == "published"}
    for name, chunks in published.items():
        if chunks != by_run.get(name):
            detail = f"{len(chunks)} chunks in its index, {len(by_run.get(name, ()))} in its slot"
            yield Finding(name, "slot_differs", detail)
    for name in by_run.keys() - published.keys():
        lost = by_run[name] - pending.get(name, set())
        if lost:
            yield Finding(name, "slot_without_index", f"and {len(lost)} chunks are not pending")
        elif name not in pending:
            yield Finding(name, "run_unfinished", "not published; start it again to go on")
    origins = {slot.run: slot.origin for slot in slots if slot.origin is not None}
    for name, origin in regated.items():
        if origins.get(name) != origin:
            yield Finding(name, "slot_differs", f"its plan says that its rows are of {origin}")
    for name in origins.keys() - {run.name for run in runs}:
        detail = "not published; start `noiseloom regate`, or the recipe, again"
        yield Finding(name, "run_unfinished", detail)


def check_regate(run: Run, runs: Mapping[str, Run]) -> Iterator[Finding]:
    """A regated run: the rows of its origin, judged by its gates, and nothing else."""
    if run.regate is None:
        return
    origin = runs.get(run.regate.run)
    if origin is None:
        yield Finding(run.name, "regate_differs", f"{run.regate.run}, its origin, cannot be read")
        return
    table = rows_to_table(origin.rows)
    batches = [judged_again(batch, run.regate.gates, run.name) for batch in table.to_batches()]
    expected = [row for batch in batches for row in table_to_rows(pa.table(batch))]
    differ = sum(a != b for a, b in zip_longest(run.rows, expected))
    if differ:
        detail = f"{differ} rows are not those of {origin.name} under its gates"
        yield Finding(run.name, "regate_differs", detail)


def check_follows(run: Run, runs: Mapping[str, Run]) -> Iterator[Finding]:
    """A run without samples that are gone: rows of the one it was taken from, and no others."""
    if run.follows is None:
        return
    base = runs.get(run.follows.base)
    if base is None:
        yield Finding(run.name, "follow_differs", f"{run.follows.base} cannot be read")
        return
    of_base = {(row.chunk, row.source_key, row.copy): row for row in base.rows}
    its = ((of_base.get((row.chunk, row.source_key, row.copy)), row) for row in run.rows)
    differ = sum(one is None or replace(one, run=run.name) != row for one, row in its)
    if differ:
        yield Finding(run.name, "follow_differs", f"{differ} rows are not those of {base.name}")
