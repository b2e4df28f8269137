"""The live view of a run, on stderr: a bar on a terminal, a plain line now and then elsewhere.

Counts are of copies, and only of committed ones, so that what is shown is what a kill would leave.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipeline.sink.commit import Receipt

LINE_EVERY_S: Final = 5.0
"""Where stderr is a file: often enough to see that it lives, seldom enough to read."""

BAR_FROM: Final = 110
"""Columns of a terminal: on a narrower one the numbers need all the room."""


@dataclass(frozen=True)
class Tally:
    """How far a run is. `committed` of `chunks`, and what became of the copies in them."""

    chunks: int
    copies: int
    committed: int = 0
    kept: int = 0
    rejected: int = 0
    failed: int = 0

    @property
    def attempted(self) -> int:
        """Copies in the committed chunks."""
        return self.kept + self.rejected + self.failed

    def plus(self, receipt: Receipt) -> Tally:
        """With one more chunk."""
        return replace(
            self,
            committed=self.committed + 1,
            kept=self.kept + receipt.kept,
            rejected=self.rejected + receipt.rejected,
            failed=self.failed + receipt.failed,
        )


@dataclass(frozen=True)
class Pace:
    """How fast this session is: what it has done itself, not what it found. `stages`: the seconds
    that actors have spent in each stage, added up.
    """

    images: int
    seconds: float
    stages: tuple[float, ...] = ()

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / self.seconds if self.seconds > 0 else 0.0

    def left(self, images: int) -> float | None:
        """Seconds for so many more images; None while nothing is known."""
        return images / self.rate if self.rate else None


def line(tally: Tally, pace: Pace) -> str:
    """All of it in one line, which is shorter than a terminal of 80 columns."""
    chunks = f"{tally.committed}/{tally.chunks} chunks"
    counts = f"kept {tally.kept} · rejected {tally.rejected} · failed {tally.failed}"
    left = pace.left(tally.copies - tally.attempted)
    if left is None:
        waits = "waiting for the first"
        return " · ".join([chunks, counts, waits] if tally.attempted else [chunks, waits])
    return f"{chunks} · {pace.rate:.1f} img/s · {counts} · {clock(left)} left"


Show = Callable[[Tally, Pace], None]


@contextmanager
def live_view(console: Console, start: Tally) -> Iterator[Show]:
    """A function to call after every commit; what it shows stays up to date inside the block."""
    if not console.is_terminal:
        console.print(line(start, Pace(0, 0)), highlight=False, soft_wrap=True)
        yield _lines(console)
        return
    text = SpinnerColumn(), TextColumn("{task.description}")
    columns = (*text, TimeElapsedColumn(), BarColumn(24)) if console.width >= BAR_FROM else text
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(
            line(start, Pace(0, 0)), total=start.chunks, completed=start.committed
        )

        def show(tally: Tally, pace: Pace) -> None:
            progress.update(task, description=line(tally, pace), completed=tally.committed)

        yield show


def _lines(console: Console) -> Show:
    """One line every few seconds, and one for the last chunk."""
    next_at = 0.0

    def show(tally: Tally, pace: Pace) -> None:
        nonlocal next_at
        now = time.monotonic()
        if now >= next_at or tally.committed == tally.chunks:
            console.print(line(tally, pace), highlight=False, soft_wrap=True)
            next_at = now + LINE_EVERY_S

    return show


def clock(seconds: float) -> str:
    """4:05, or 1:04:05."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
