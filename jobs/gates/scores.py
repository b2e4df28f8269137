"""`noiseloom gates SINK [--score NAME]`: the scores of all copies, to choose thresholds.

Every gate writes its scores for every copy, kept or rejected. Told are how each score is spread, a
line each, and how many copies the run's own gates rejected, and why. `--score` tells of one, or of
one gate's: per verdict, op and class, and what any threshold would keep. The page that is written
beside it has all of that, and pictures: source and copy at the quantiles of each score
(`jobs.gates.page`).

Without `--run` all published runs are told of together; of those that were judged again, the
current one. `noiseloom regate` applies what was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.gates.page import write_page
from pipeline.index.files import published_runs, sink_there
from pipeline.index.spread import Line, Spread, lines_of, spread_of, thresholds
from pipeline.sink.publication import current_runs
from pipeline.storage.store import Store
from schemas.errors import SinkError

SHARES: Final = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
FEW: Final = (0, 0.05, 0.5, 0.95, 1)
WIDE: Final = 100
"""Columns of a terminal: on a narrower one all shares would be cut off."""
AT: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
BINS: Final = 16
SHOWN: Final = 12
"""Lines of one table on a terminal; the page has all."""

_BLOCKS: Final = "·▁▂▃▄▅▆▇█"


def gates(
    sink: str, run: str | None, score: str | None, out: Path | None, console: Console
) -> Path:
    """Prints the tables and writes the page; returns its path. SinkError where no such run is
    published, or no copy has such a score.
    """
    store = sink_there(sink)
    runs = _runs(store, run)
    spread = spread_of(store, runs)
    looked_at = _named(spread, score)
    folder = out or Path("out") / f"gates-{_last(store.url)}"
    page = write_page(folder, store, runs, spread)  # first: who reads the tables may close the pipe
    console.print(_statuses(spread, runs))
    if not spread.scores:
        console.print("no copy has a score: the recipes had no gates", style="yellow")
    elif score is None:
        console.print(_overview(spread, FEW if console.width < WIDE else SHARES))
        console.print(f"per class and op, and what thresholds keep: --score {looked_at[0]}")
    for name in looked_at if score is not None else ():
        console.print(_spread_table(spread, name))
        console.print(_threshold_table(spread, name))
    console.print(f"with pictures: {page}", soft_wrap=True, highlight=False, markup=False)
    return page


def _runs(store: Store, run: str | None) -> list[str]:
    there = published_runs(store)
    if run is None and there:
        return current_runs(store)
    if run is None:
        raise SinkError(f"{store.url}: no run is published here")
    if run not in there:
        listed = ", ".join(there) or "none"
        raise SinkError(f"{store.url}: no run {run} is published; there are: {listed}")
    return [run]


def _named(spread: Spread, score: str | None) -> list[str]:
    """The scores of this name, or of this gate; all without one."""
    found = [
        name
        for name in spread.scores
        if score is None or name == score or name.startswith(f"{score}.")
    ]
    if score is not None and not found:
        raise SinkError(f"--score {score}: there are: {', '.join(spread.scores) or 'none'}")
    return found


def _last(url: str) -> str:
    name = url.rstrip("/").rpartition("/")[2]
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".") or "sink"


def _statuses(spread: Spread, runs: Sequence[str]) -> Table:
    """What became of the copies, and which gate rejected them."""
    table = _table(f"{', '.join(runs)}: {len(spread)} copies", "reason", "gate", "copies", "share")
    total = max(1, len(spread))
    kept = spread.statuses.get("kept", 0)
    table.add_row("kept", "", "", f"{kept}", f"{kept / total:.1%}")
    for (status, reason, gate), n in sorted(spread.reasons.items(), key=lambda item: -item[1]):
        table.add_row(status, Text(reason), Text(gate), f"{n}", f"{n / total:.1%}")
    return table


def _overview(spread: Spread, shares: Sequence[float]) -> Table:
    """A line for each score, over all copies that have it."""
    table = _table("scores", "copies", *map(_share, shares), "low to high")
    table.padding, table.pad_edge = (0, 1, 0, 0), False
    for name in spread.scores:
        table.add_row(
            *_cells(
                lines_of(spread, name, shares, BINS if shares is SHARES else BINS // 2)[0], name
            )
        )
    return table


def _cells(line: Line, name: str) -> list[str | Text]:
    numbers = (f"{q:.4g}" for q in line.quantiles)
    return [Text(name), f"{line.count}", *numbers, _bars(line)]


def _spread_table(spread: Spread, name: str) -> Table:
    lines = lines_of(spread, name, SHARES, BINS)
    columns = ["copies", *map(_share, SHARES), "low to high"]
    table = _table(f"{name}: {lines[0].count} of {len(spread)} copies have it", *columns)
    for line in lines[:SHOWN]:
        table.add_row(*_cells(line, line.name))
    if len(lines) > SHOWN:
        table.add_row(f"and {len(lines) - SHOWN} more, on the page")
    return table


def _threshold_table(spread: Spread, name: str) -> Table:
    values_n = spread.scores[name]
    table = _table(f"{name}: what a threshold keeps", "at least this", "at most this")
    for one in thresholds(values_n[~np.isnan(values_n)], AT):
        table.add_row(f"{one.value:.4g}", f"{one.at_least:.1%}", f"{one.at_most:.1%}")
    return table


def _share(share: float) -> str:
    return {0: "least", 0.5: "median", 1: "most"}.get(share, f"{share:.0%}")


def _bars(line: Line) -> str:
    """The histogram in one line; what is not empty is seen."""
    most = max(line.bars)
    return "".join(_BLOCKS[-(-8 * n // most)] for n in line.bars)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    for i, name in enumerate(("", *columns)):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    return table
