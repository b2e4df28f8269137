"""`noiseloom gc SINK [--dry-run] [--abandon RUN]`: removes what nothing refers to.

Safe at any time, also beside live runs: what a run under way may still commit stays, and so does
all that a run which was killed needs to go on (`pipeline.sink.leftovers`). A run that nobody will
ever finish holds its leftovers for good, and is named in the table: start it again, or `--abandon`
it, which deletes its plan and what it has committed. What is published is never touched.
"""

from __future__ import annotations

from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.index.files import sink_errors, sink_there
from pipeline.sink.claim import CLAIMS, claimed
from pipeline.sink.leftovers import (
    Leftover,
    OpenRun,
    Survey,
    check_may_give_up,
    finish_giving_up,
    give_up,
    remove,
    survey,
)
from pipeline.storage.store import Store


def dry_run(sink: str, abandon: str | None, console: Console) -> None:
    """Tells what gc would do, and changes nothing."""
    store = sink_there(sink)
    if abandon is not None:
        check_may_give_up(store, abandon)
    _tell(store, survey(store, datetime.now(UTC), abandon), "would be removed", console)


def gc(sink: str, abandon: str | None, console: Console) -> None:
    """Removes what nobody needs; `abandon` names a run to give up."""
    store = sink_there(sink)
    with claimed(store):
        if abandon is not None:
            give_up(store, abandon)
        with sink_errors(store):
            now = max(store.times(CLAIMS).values())  # the own claim's
        found = survey(store, now)
        remove(store, found.leftovers)
        finish_giving_up(store)
    _tell(store, found, "removed", console)
    if abandon is not None:
        console.print(f"{abandon}: given up; started again, it begins anew", highlight=False)


def _tell(store: Store, found: Survey, verb: str, console: Console) -> None:
    if found.leftovers:
        console.print(_removed(found.leftovers, verb))
    else:
        console.print(f"{store.url}: nothing to remove", soft_wrap=True, highlight=False)
    if found.open_runs:
        console.print(_staying(found.open_runs))
    if found.held:
        many = f"{len(found.held)} tars that no row names stay"
        console.print(f"{many}: a run above may need them", highlight=False)


def _removed(leftovers: tuple[Leftover, ...], verb: str) -> Table:
    table = _table(verb, "files", "bytes")
    for kind in sorted({leftover.kind for leftover in leftovers}):
        sizes = [leftover.size for leftover in leftovers if leftover.kind == kind]
        table.add_row(Text(kind), f"{len(sizes)}", f"{sum(sizes):,}")
    return table


def _staying(runs: tuple[OpenRun, ...]) -> Table:
    """The runs that are not finished: how far they are, and how to go on."""
    table = _table("stays: runs that are not finished", "committed", "chunks")
    for run in runs:
        if run.planned is None:
            table.add_row(Text(run.name), f"{len(run.pending)}", "its plan cannot be read")
        else:
            done = sum(not run.may_need(chunk) for chunk in run.planned)
            table.add_row(Text(run.name), f"{done}", f"{len(run.planned)}")
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right")
    return table
