"""`noiseloom regate SINK GATES.yaml [--run RUN]`: other gates over published runs.

Of a run comes another one, `<run>-gates-<digest of the gates>`, with the same rows in the same
order, the same tars, and new verdicts (`pipeline.regate`): no model, no picture, no Ray. It
supersedes the run that it was made from: what reads all runs reads the one that was judged last.
The others stay as they are, and can be read by name.

    runs/<run>.plan.json    the origin's plan, and `regate`: the origin's name, and the gates
    index/_order/...        the slot that makes it the current one
    index/<run>.parquet     published, with this
    runs/<run>.json         counts, and what has changed

Each is created once, in this order: the same command goes on after a kill, and two at once make the
same. Where it is done already nothing is done; where other gates were applied since, these are made
current again. A run that is itself a regated one stands for its origin.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.run.plan_file import PlanFile, Regate
from jobs.run.record import record_exists, versions
from jobs.stopping import stoppable
from jobs.tracking.run import deliver_waiting, ended, open_tracker
from pipeline.index.croissant import describe
from pipeline.index.files import (
    index_batches,
    published_path,
    published_runs,
    sink_errors,
    sink_there,
)
from pipeline.regate import (
    NOT_STORED,
    GatesFile,
    Lacking,
    check_gates,
    load_gates,
    regated_index,
    scores_there,
)
from pipeline.sink.claim import wait_for_gc
from pipeline.sink.publication import current_runs, publish_again
from pipeline.sink.run_files import plan_path, record_path, run_file_if_sound
from pipeline.sink.slots import read_slots, slot_of
from pipeline.storage.store import Store
from schemas.errors import RunError, SinkError

ALL: Final = "all"


@dataclass(frozen=True)
class Change:
    """A run judged again, beside its origin: copies by status and reason, and by both statuses."""

    reasons: Mapping[tuple[str, str | None], int]
    moved: Mapping[tuple[str, str], int]

    def status(self, name: str) -> int:
        """How many copies of the run have this status."""
        return sum(n for (status, _), n in self.reasons.items() if status == name)

    @property
    def attempted(self) -> int:
        """All rows."""
        return sum(self.reasons.values())

    @property
    def not_stored(self) -> int:
        """Copies that the gates keep, and that cannot be brought back."""
        return self.reasons.get(("rejected", NOT_STORED), 0)

    def figures(self) -> dict[str, int]:
        """What is tracked and recorded, beside the counts."""
        back, out = self.moved.get(("rejected", "kept"), 0), self.moved.get(("kept", "rejected"), 0)
        return {"brought_back": back, "taken_out": out, "not_stored": self.not_stored}


@dataclass(frozen=True)
class _Origin:
    """A published run that made its copies itself."""

    name: str
    plan: PlanFile

    def under(self, gates: GatesFile) -> str:
        """The name of what these gates make of it."""
        return f"{self.name}-gates-{gates.digest}"


def regate(sink: str, file: Path, run: str, console: Console) -> None:
    """Judges again the run that is named, or all; every file and every run is checked first."""
    store = sink_there(sink)
    document, gates = load_gates(file)
    due = [one for one in _origins(store, run) if not _done(store, one, gates, console)]
    lacking: dict[str, list[Lacking]] = {}
    for origin in due:
        there = scores_there(store, origin.name)
        before = origin.plan.recipe.gates
        lacking[origin.name] = check_gates(document, gates.gates, before, there)
    with stoppable():
        for origin in due:
            change = _regate(store, origin, gates, file, console)
            _tell(store, origin, gates, change, lacking[origin.name], console)


def _origins(store: Store, run: str) -> Iterator[_Origin]:
    names = published_runs(store)
    if run != ALL and run not in names:
        there = ", ".join(names) or "none"
        raise SinkError(f"{store.url}: no run {run} is published; there are: {there}")
    if not names:
        raise SinkError(f"{store.url}: no run is published here")
    plans = {name: _plan(store, name) for name in names}
    wanted = run if run not in plans else plans[run].origin or run
    for name, plan in plans.items():
        if plan.origin is None and wanted in (ALL, name):
            yield _Origin(name, plan)


def _plan(store: Store, run: str) -> PlanFile:
    path = plan_path(run)
    plan = run_file_if_sound(store, path, PlanFile)
    if plan is None:
        raise SinkError(f"{store.at(path)}: the plan of the run cannot be read")
    return plan


def _done(store: Store, origin: _Origin, gates: GatesFile, console: Console) -> bool:
    run = origin.under(gates)
    done = run in current_runs(store) and record_exists(store, run)
    if done:
        console.print(f"{run}: nothing to do, it is published and current", soft_wrap=True)
        deliver_waiting(origin.plan.tracking, run, store, console)
    return done


def _regate(
    store: Store, origin: _Origin, gates: GatesFile, file: Path, console: Console
) -> Change:
    """One run, from plan to record; a step may find itself done already."""
    run = origin.under(gates)
    slot_of(read_slots(store), run)  # it may be being given up
    _create(store, plan_path(run), _planned_again(store, origin, gates))
    wait_for_gc(store)
    tracker = open_tracker(origin.plan.tracking, run, store, console)
    params = {"regate.run": origin.name, "regate.gates": gates.digest, "sink": store.url}
    tracker.begin(run, params, "gates.yaml", file.read_text())
    with ended(tracker):
        make = partial(regated_index, store, origin.name, gates.gates, run)
        publish_again(store, run, origin.name, make)
        change = _change(store, origin.name, run)
        tracker.summary({"attempted": change.attempted, **_counts(change), **change.figures()})
        tracker.output(store.at(published_path(run)), describe(store, run))
        _record(store, origin, gates, change, tracker.run_id)
    return change


def _planned_again(store: Store, origin: _Origin, gates: GatesFile) -> dict[str, object]:
    """The origin's plan, which says how samples are read and made, and what judged them again."""
    with sink_errors(store):
        plan: dict[str, object] = json.loads(store.read(plan_path(origin.name)))
    regated = Regate(run=origin.name, gates=gates.gates)
    return {**plan, "run": origin.under(gates), "regate": regated.model_dump(mode="json")}


def _change(store: Store, origin: str, run: str) -> Change:
    """Read from both indexes; RunError where they do not have the same copies."""
    reasons: Counter[tuple[str, str | None]] = Counter()
    moved: Counter[tuple[str, str]] = Counter()
    for before, after in zip(_states(store, origin), _states(store, run), strict=True):
        if before[0] != after[0] or (before[1] == "failed") != (after[1] == "failed"):
            raise RunError(
                f"{run}: its copies are not those of {origin}; delete nothing, report it"
            )
        reasons[after[1], after[2]] += 1
        moved[before[1], after[1]] += 1
    return Change(reasons, moved)


def _states(store: Store, run: str) -> Iterator[tuple[str, str, str | None]]:
    """Id, status and reason of every copy."""
    for batch in index_batches(store, run, ["sample_id", "status", "reason"]):
        columns = (column.to_pylist() for column in batch.columns)
        yield from zip(*columns, strict=True)


def _counts(change: Change) -> dict[str, int]:
    return {name: change.status(name) for name in ("kept", "rejected", "failed")}


def _record(
    store: Store, origin: _Origin, gates: GatesFile, change: Change, mlflow_run: str | None
) -> None:
    run, counts = origin.under(gates), _counts(change)
    reasons = {reason: n for (_, reason), n in sorted(change.reasons.items(), key=str) if reason}
    plan = _planned_again(store, origin, gates)
    record = {
        **{name: plan[name] for name in ("run", "digest", "recipe", "models", "regate")},
        "counts": {"attempted": change.attempted, **counts, "reasons": reasons},
        "changes": change.figures(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "mlflow": {"experiment": origin.plan.tracking.experiment, "run": mlflow_run},
        "versions": versions(),
    }
    _create(store, record_path(run), record)


def _create(store: Store, path: str, record: Mapping[str, object]) -> None:
    with sink_errors(store):
        store.create(path, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())


def _tell(
    store: Store,
    origin: _Origin,
    gates: GatesFile,
    change: Change,
    lacking: Sequence[Lacking],
    console: Console,
) -> None:
    run, figures = origin.under(gates), change.figures()
    table = Table(title=run, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.show_header = False
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("from", Text(f"{origin.name}, which it supersedes"))
    kept = f"{change.status('kept')} of {change.attempted} copies"
    moved = f"{figures['brought_back']} brought back, {figures['taken_out']} taken out"
    table.add_row("kept", f"{kept} ({moved})")
    table.add_row("rejected", Text(f"{change.status('rejected')}{_reasons(change, 'rejected')}"))
    table.add_row("failed", Text(f"{change.status('failed')}{_reasons(change, 'failed')}"))
    for one in lacking:
        table.add_row("[yellow]not there[/yellow]", Text(f"{one.score}: {one.rows} of {one.of}"))
    table.add_row("index", Text(store.at(published_path(run))))
    table.add_row("record", Text(store.at(record_path(run))))
    console.print(table)
    if lacking:
        console.print("a score that a copy does not have is not judged", highlight=False)
    if change.not_stored:
        console.print(
            f"{change.not_stored} copies are kept by these gates and were not stored: they stay "
            "rejected. Run the recipe with these gates, or with `output: {rejected: store}` from "
            "the start",
            style="yellow",
            markup=False,
            highlight=False,
        )


def _reasons(change: Change, status: str) -> str:
    found = [(-n, str(reason)) for (of, reason), n in change.reasons.items() if of == status]
    told = ", ".join(f"{reason} {-n}" for n, reason in sorted(found)[:4])
    return f" ({told})" if told else ""
