"""`noiseloom verify SINK [--replay N]`: does the sink hold what its index says?

Read is everything: every index file, every tar, every sample's pixels and labels; `--replay`
makes N kept samples again from their rows. Nothing is written. The exit code is 0 where all is
well, 1 where something is wrong; leftovers that touch nothing published are told, and are no fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from jobs.run.plan_file import PlanFile
from jobs.verify.audit import (
    Finding,
    Run,
    check_follows,
    check_order,
    check_regate,
    check_run,
    status_counts,
)
from jobs.verify.replay import Replayer, spread
from jobs.verify.tars import check_quarantine, check_quarantined, check_shard
from pipeline.index.files import pending_runs, published_runs, read_index, sink_there
from pipeline.sink.commit import TARS
from pipeline.sink.run_files import RunRecord, plan_path, record_path, run_file_if_sound
from pipeline.sink.slots import Slot, read_slots, superseded
from pipeline.storage.store import Store
from schemas.errors import SinkError
from schemas.index import IndexRow, table_to_rows

SHOWN: Final = 30
CHECKERS: Final = 2
"""Shards under way at once: decoding releases the GIL, and each shard is held in memory whole."""


def verify(sink: str, replay: int, console: Console) -> int:
    """Checks the sink, prints what was found, and returns the exit code."""
    store = sink_there(sink)
    runs, slots, findings = _read_runs(store)
    rows = [row for run in runs for row in run.rows]
    again = superseded(slots, {run.name for run in runs if run.published})
    counted = [row for run in runs if run.name not in again for row in run.rows]
    kept = [row for row in counted if row.status == "kept"]
    findings += check_quarantined(rows)
    replayed = spread(kept, replay)
    by_tar = _by_tar(rows)
    if not console.is_terminal:  # there the bar says nothing, and decoding may take minutes
        text = f"{store.url}: checking {len(by_tar)} tars of {len(rows)} copies"
        console.print(text, soft_wrap=True, markup=False, highlight=False)
    with _progress(console) as progress:
        task = progress.add_task("tars", total=len(by_tar))
        for found in _check_tars(store, by_tar, {run.name: run for run in runs}):
            findings += found
            progress.advance(task)
        findings += _leftovers(store, by_tar)
        if replayed:
            task = progress.add_task("made again", total=len(replayed))
            for finding in _replay(store, runs, replayed):
                findings += [finding] if finding is not None else []
                progress.advance(task)
    count = status_counts(counted)
    more = f" ({len(again)} of them superseded since)" if again else ""
    told = (
        f"{sink}: {len(runs)} runs{more}, {count.attempted} copies ({count.kept} kept, "
        f"{count.rejected} rejected, {count.failed} failed), {len(by_tar)} tars, "
        f"{len(replayed)} made again"
    )
    console.print(told, soft_wrap=True, highlight=False, markup=False)
    return _verdict(findings, console)


def _read_runs(store: Store) -> tuple[list[Run], list[Slot], list[Finding]]:
    """All runs, their slots, and what their own files and their counts show."""
    published = published_runs(store)
    names = [*published, *(name for name in pending_runs(store) if name not in published)]
    if not names:
        raise SinkError(f"{store.url}: no run has committed anything here")
    runs: list[Run] = []
    findings: list[Finding] = []
    for name in names:
        try:
            rows = table_to_rows(read_index(store, [name], pending=name not in published))
        except SinkError as error:
            findings.append(Finding(name, "unreadable_index", str(error)))
            continue
        plan = run_file_if_sound(store, plan_path(name), PlanFile)
        record = run_file_if_sound(store, record_path(name), RunRecord)
        runs.append(Run(name, name in published, tuple(rows), plan, record))
    chunks = frozenset(row.chunk for run in runs if run.published for row in run.rows)
    by_name = {run.name: run for run in runs}
    for run in runs:
        findings += [*check_run(run, chunks), *check_regate(run, by_name)]
        findings += check_follows(run, by_name)
    slots: list[Slot] = []
    try:
        slots = read_slots(store)
        findings += check_order(runs, slots)
    except SinkError as error:
        findings.append(Finding(store.url, "slots_unreadable", str(error)))
    return runs, slots, findings


def _by_tar(rows: Sequence[IndexRow]) -> dict[str, list[IndexRow]]:
    by_tar: dict[str, list[IndexRow]] = {}
    for row in rows:
        path = row.quarantine if row.status == "failed" else row.shard
        if path is not None or row.status == "kept":
            by_tar.setdefault(path or "", []).append(row)
    return by_tar


def _check_tars(
    store: Store, by_tar: dict[str, list[IndexRow]], runs: dict[str, Run]
) -> Iterator[list[Finding]]:
    def check(path: str) -> list[Finding]:
        rows = by_tar[path]
        if rows[0].status == "failed":
            return list(check_quarantine(store, path, rows))
        run = runs.get(rows[0].run)
        plan = run.plan if run is not None else None
        return list(check_shard(store, path, rows, plan.recipe.source if plan else None))

    with ThreadPoolExecutor(CHECKERS) as threads:
        yield from threads.map(check, by_tar)


def _leftovers(store: Store, by_tar: Iterable[str]) -> list[Finding]:
    tars = {path for folder in TARS for path in store.list(folder)}
    detail = "no row names it; `noiseloom gc` removes it unless a run may need it"
    return [Finding(path, "unreferenced_shard", detail) for path in sorted(tars - set(by_tar))]


def _replay(
    store: Store, runs: Sequence[Run], rows: Sequence[IndexRow]
) -> Iterator[Finding | None]:
    replayer = Replayer(store, {run.name: run for run in runs})
    for row in rows:
        yield replayer.check(row)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _verdict(findings: Sequence[Finding], console: Console) -> int:
    if findings:
        console.print(_table(findings))
    wrong = Counter(finding.slug for finding in findings if not finding.harmless)
    if not wrong:
        console.print("everything is as the index says", style="green")
        return 0
    told = ", ".join(f"{slug} {n}" for slug, n in sorted(wrong.items()))
    console.print(f"{wrong.total()} findings: {told}", style="red", highlight=False)
    return 1


def _table(findings: Sequence[Finding]) -> Table:
    """The first findings, faults before notes."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("where", "finding", "detail"):
        table.add_column(name, overflow="fold")
    ordered = sorted(findings, key=lambda finding: finding.harmless)
    for finding in ordered[:SHOWN]:
        style = "yellow" if finding.harmless else "red"
        table.add_row(Text(finding.where), Text(finding.slug, style), Text(finding.detail))
    if len(ordered) > SHOWN:
        table.add_row("", f"and {len(ordered) - SHOWN} more", "")
    return table
