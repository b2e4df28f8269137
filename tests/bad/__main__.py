"""The large version of what the tests do in small, with a table at the end.

    python -m tests.bad --flips 10000 --seed 7      damage at places that the seed chooses
    python -m tests.bad --kinds                     every kind of bad shard, also those of gigabytes

The exit code is 1 where something is not as it must be. The same seed does the same.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.bad.flips import Fate, fuzz
from tests.bad.kinds import EVERY
from tests.bad.running import run

SHOWN = 20


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bad", description="bad input, at length")
    parser.add_argument("--flips", type=int, default=0, metavar="N", help="so many accidents")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--kinds", action="store_true", help="every kind of bad shard")
    options = parser.parse_args()
    console = Console()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        wrong = _kinds(console) if options.kinds else 0
        if options.flips:
            wrong += _flips(options.flips, options.seed, Path(folder), console)
        os.chdir("/")
    return 1 if wrong else 0


def _flips(number: int, seed: int, folder: Path, console: Console) -> int:
    fates: list[Fate] = []
    with Progress(console=console) as progress:
        task = progress.add_task("accidents", total=number)
        for fate in fuzz(number, seed, folder):
            fates.append(fate)
            progress.advance(task)
    by_kind: defaultdict[tuple[str, str], list[Fate]] = defaultdict(list)
    for fate in fates:
        by_kind[fate.packing, fate.accident].append(fate)
    columns = ("identical", "changed", "failed", "found")
    table = Table("shard", "accident", "times", *columns, "wrong", "slowest")
    for kind, mine in sorted(by_kind.items()):
        became = sum((fate.became for fate in mine), Counter[str]())
        wrong = sum(bool(fate.complaints) for fate in mine)
        slowest = f"{max(fate.seconds for fate in mine):.2f} s"
        counts = [str(became[name]) for name in columns]
        table.add_row(*kind, str(len(mine)), *counts, str(wrong), slowest)
    console.print(table)
    bad = [(n, fate) for n, fate in enumerate(fates) if fate.complaints]
    for n, fate in bad[:SHOWN]:
        console.print(f"{n} {fate.packing} {fate.accident}: {fate.complaints}", markup=False)
    console.print(f"seed {seed}: {number} accidents, {len(bad)} of them against the law")
    return len(bad)


def _kinds(console: Console) -> int:
    with Progress(console=console) as progress:
        task = progress.add_task("kinds", total=len(EVERY))
        told = run(list(EVERY), lambda: progress.advance(task))
    wrong = {kind: says for kind, says in told.kinds.items() if says}
    table = Table("kind", "seconds", "wrong")
    slow = sorted(told.seconds, key=lambda kind: -told.seconds[kind])[:SHOWN]
    for kind in [*wrong, *(kind for kind in slow if kind not in wrong)]:
        table.add_row(kind, f"{told.seconds[kind]:.2f}", "; ".join(wrong.get(kind, [])))
    console.print(table)
    peak = told.peak / 1e9
    console.print(f"{len(EVERY)} kinds, {len(wrong)} wrong, at most {peak:.2f} GB of memory")
    return len(wrong) + (peak >= 1.5)


if __name__ == "__main__":
    sys.exit(main())
