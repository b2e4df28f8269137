"""`noiseloom import`: a dataset of another format, as shards that a recipe reads.

Reads all annotations, then the images one by one, and writes shards into a folder that appears when
everything is in it. At the end it says what was wrong, what classes there are, and what to write
into a recipe. `<out>/report.json` holds the same report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from jobs.run.counts import counted
from pipeline.importing.card import class_counts, source_block
from pipeline.importing.converting import Imported, convert
from pipeline.importing.records import Dataset
from pipeline.importing.report import Counts, Report
from pipeline.importing.writing import check_free

LINE_EVERY_S: Final = 5.0


def import_data(
    read: Callable[[], Dataset], out: Path, shard_size: int, console: Console
) -> Imported:
    """Reads, checks, writes and tells."""
    check_free(out)
    with console.status("reading the annotations"):
        dataset = read()
    with progress(len(dataset.items), console) as step:
        done = convert(dataset, out, shard_size, step)
    tell(done, console)
    return done


@contextmanager
def progress(total: int, console: Console) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, a line now and then elsewhere; call the function for every image."""
    started = time.monotonic()
    done = 0

    def line() -> str:
        return f"{done / max(time.monotonic() - started, 1e-6):.0f} images/s"

    if console.is_terminal:
        columns = (BarColumn(24), MofNCompleteColumn(), TextColumn("{task.description}"))
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
            task = bar.add_task("", total=total)

            def show() -> None:
                nonlocal done
                done += 1
                if done % 16 == 0 or done == total:
                    bar.update(task, completed=done, description=line())

            yield show
        return
    next_at = started + LINE_EVERY_S

    def say() -> None:
        nonlocal done, next_at
        done += 1
        if time.monotonic() >= next_at:
            console.print(f"{done}/{total} images · {line()}", highlight=False, soft_wrap=True)
            next_at = time.monotonic() + LINE_EVERY_S

    yield say


def tell(done: Imported, console: Console) -> None:
    """What was wrong, what there is, and what to do with it."""
    report = done.report
    if report.rows:
        console.print(_table(report))
    _plain(console, _sentence(report.images(), "images"))
    if done.dataset.format != "masks":
        _plain(console, _sentence(report.annotations(), "annotations"))
    counts = class_counts(done.dataset, done.tallies)
    if counts:
        _plain(console, "classes: " + ", ".join(f"{name} {n}" for name, n in counts.items()))
    if done.dataset.seg_classes:
        _plain(console, "classes of the maps: " + ", ".join(done.dataset.seg_classes))
    for split, tally in done.tallies.items():
        some = [f"{tally.with_masks} with instance masks"] if tally.with_masks else []
        some += [f"{tally.with_maps} with a class-id map"] if tally.with_maps else []
        extra = f" ({', '.join(some)})" if some else ""
        _plain(
            console,
            f"{split}: {tally.samples} samples{extra} in {counted(len(tally.shards), 'shard')}",
        )
        if 0 < tally.with_maps < tally.samples:
            _plain(console, "  not every sample has a class-id map: a recipe must not ask for them")
    _plain(console, f"{done.out}: shards, dataset.json, report.json and README.md\n")
    split, tally = next(iter(done.tallies.items()))
    _plain(console, source_block(str(done.out), split, done.dataset, tally))


def _table(report: Report) -> Table:
    table = Table(title="what was found", title_justify="left", expand=False)
    for name in ("slug", "count", "first", "what, and what was done"):
        table.add_column(name, justify="right" if name == "count" else "left", overflow="fold")
    for row in report.rows:
        worst = f"; at most {row.worst_px:.1f} px" if row.worst_px else ""
        done = {"dropped": "left out", "repaired": "repaired", "noted": "kept as it is"}[row.fate]
        first = f"{row.place}: {row.detail}" if row.detail else row.place
        cells = (row.slug, str(row.count), first, f"{row.says}{worst} [{done}]")
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _sentence(counts: Counts, what: str) -> str:
    lost = ", ".join(f"{n} {slug}" for slug, n in counts.dropped.items())
    mended = f" · repaired {counts.repaired}" if counts.repaired else ""
    dropped = sum(counts.dropped.values())
    return f"{what}: {counts.read} read · kept {counts.kept}{mended} · left out {dropped}" + (
        f" ({lost})" if lost else ""
    )


def _plain(console: Console, text: str) -> None:
    """As it is: names from a dataset are no markup."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
