"""`noiseloom history SINK`: the nights of a sink, one line each, the last one at the end.

Read are the records of the runs, `runs/<run>.json`; of runs that have none, plan, slots and what is
pending: how far they came, and which run has taken them over. No index is read and no Ray started.
On a terminal it is a table; piped, it is one line a run with tabs between, for other programs.

    kind   night; retry, gates or follows: a run that is made of another one's rows
    state  finished; taken over: its chunks are in a later run; unfinished, and how far it is: it
           was killed, or refused by its lift test, or is at work
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.index.files import PENDING, READERS, published_runs, sink_errors, sink_there
from pipeline.sink.progress import mlflow_link
from pipeline.sink.run_files import (
    RUNS,
    PlanOutline,
    RunRecord,
    plan_path,
    record_path,
    run_file_if_sound,
)
from pipeline.sink.slots import given_up, owners, read_slots
from pipeline.storage.store import Store
from schemas.errors import SinkError

COLUMNS: Final = (
    "finished",
    "run",
    "kind",
    "state",
    "new samples",
    "copies",
    "kept",
    "failed",
    "GPU s",
    "verdict",
    "MLflow",
)
NUMBERS: Final = frozenset({"new samples", "copies", "kept", "failed", "GPU s"})


@dataclass(frozen=True)
class Night:
    """One run, in words; what is not known is "-"."""

    finished: str
    run: str
    kind: str
    state: str = "finished"
    samples: str = "-"
    copies: str = "-"
    kept: str = "-"
    failed: str = "-"
    gpu_seconds: str = "-"
    verdict: str = "-"
    mlflow: str = "-"

    @property
    def cells(self) -> list[str]:
        """In the order of COLUMNS."""
        return list(vars(self).values())


def history(sink: str, console: Console) -> None:
    """Prints all runs of a sink; SinkError where there is none."""
    found = nights(sink_there(sink))
    if not found:
        raise SinkError(f"{sink}: no run has begun here; `noiseloom run RECIPE.yaml` starts one")
    if console.is_terminal:
        console.print(_table(sink, found))
        for link in _links(found):
            console.print(link, soft_wrap=True, markup=False, highlight=False)
        return
    for cells in (list(COLUMNS), *(night.cells for night in found)):
        print("\t".join(map(_plain, cells)), file=console.file)  # rich would expand the tabs


def _plain(cell: str) -> str:
    """Nothing in it may steer a terminal, or end the cell."""
    return "".join(c if c.isprintable() else " " for c in cell)


def nights(store: Store) -> list[Night]:
    """All runs that began, by the time of their end; those without one last."""
    with sink_errors(store):
        pending = _pending(store)  # first: publishing moves them into slots
        slots, published = read_slots(store), set(published_runs(store))
        names = [
            name.removesuffix(".json") for name in store.entries(RUNS) if name.endswith(".json")
        ]
        planned = {n.removesuffix(".plan") for n in names if n.endswith(".plan")}
        recorded = [name for name in names if name in planned | published]
        with ThreadPoolExecutor(READERS) as pool:
            done = list(pool.map(lambda run: _finished(store, run), recorded))
            left = sorted(planned - set(recorded) - given_up(slots))
            owner = owners(slots)
            open_ = list(pool.map(lambda run: _open(store, run, pending, owner, published), left))
    return [*sorted(done, key=lambda night: (night.finished, night.run)), *open_]


def _finished(store: Store, run: str) -> Night:
    record = run_file_if_sound(store, record_path(run), RunRecord)
    if record is None:
        return Night("-", run, _kind(run), "its record cannot be read")
    counts, cost = record.counts, record.cost
    return Night(
        finished=record.finished.isoformat(),
        run=run,
        kind="gates" if record.regate else "follows" if record.follows else _kind(run),
        samples="-" if cost is None else f"{cost.samples}",
        copies=f"{counts.attempted}",
        kept=f"{counts.kept / counts.attempted:.1%}" if counts.attempted else "-",
        failed=f"{counts.failed}",
        gpu_seconds="-" if cost is None else f"{cost.gpu_seconds:.0f}",
        verdict="-" if record.verdict is None else record.verdict.verdict,
        mlflow=mlflow_link(record.mlflow.uri, record.mlflow.run) or "-",
    )


def _kind(run: str) -> str:
    return "retry" if "-retry-" in run else "night"


def _open(
    store: Store,
    run: str,
    pending: AbstractSet[tuple[str, str]],
    owner: dict[str, str],
    published: AbstractSet[str],
) -> Night:
    """A run without a record: killed, refused, at work, or taken over by others."""
    if run in published:
        return Night("-", run, _kind(run), "published, its record is missing: start it again")
    plan = run_file_if_sound(store, plan_path(run), PlanOutline)
    if plan is None:
        return Night("-", run, _kind(run), "unfinished, its plan cannot be read")
    due = plan.due().keys()
    left = {chunk for chunk in due if chunk not in owner}
    if due and not left:
        last = next(one for one in reversed(owner.values()) if one in {owner[c] for c in due})
        return Night("-", run, _kind(run), f"taken over by {last}")
    done = sum((run, chunk) in pending for chunk in left)
    return Night("-", run, _kind(run), f"unfinished, {done} of {len(left)} chunks committed")


def _pending(store: Store) -> set[tuple[str, str]]:
    """Run and chunk of all that is committed and not published."""
    return set(_run_and_chunk(store.list(PENDING)))


def _run_and_chunk(paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        run, _, chunk = path.removeprefix(f"{PENDING}/").partition("/")
        yield run, chunk.removesuffix(".parquet")


def _table(sink: str, found: Sequence[Night]) -> Table:
    """Without the columns that tell nothing here, so that the names of runs stay whole."""
    table = Table(title=sink, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.padding, table.pad_edge = (0, 1, 0, 0), False
    told = [name for name in COLUMNS if _tells(name, {dict(_named(one))[name] for one in found})]
    for name in told:
        side: Literal["left", "right"] = "right" if name in NUMBERS else "left"
        table.add_column(name.replace(" ", "\n"), justify=side, overflow="fold")
    for night in found:
        style = "" if night.state == "finished" else "yellow"
        cells = dict(_named(night))
        cells["finished"] = night.finished[:16].replace("T", " ")
        table.add_row(*(Text(cells[name], style) for name in told))
    return table


def _tells(name: str, cells: AbstractSet[str]) -> bool:
    """MLflow's links are too long for a column, and stand below the table."""
    nothing = {"kind": {"night"}, "GPU s": {"0", "-"}, "MLflow": cells}
    return not cells <= nothing.get(name, {"-"})


def _named(night: Night) -> Iterator[tuple[str, str]]:
    return zip(COLUMNS, night.cells, strict=True)


def _links(found: Sequence[Night]) -> Iterator[str]:
    return (f"{night.run}: MLflow {night.mlflow}" for night in found if night.mlflow != "-")
