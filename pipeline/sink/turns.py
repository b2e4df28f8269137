"""One start of a recipe at a time on a sink: two nights do not overlap.

    sessions/<recipe>/<host>.<process>.<digits>.<n>.json      the n-th beat of a start at work
    sessions/<recipe>/<host>.<process>.<digits>.w<n>.json     of one that waits

Whoever starts says so, and again every 20 s; whoever starts beside it waits, and goes on with what
is left when the other has ended. No clock is compared: a start is taken for dead when its process
is gone from this machine, or when no new beat of it came while somebody waited for two minutes. It
may live after all, and a network may hide it: then both work, and lose nothing but time, since a
chunk is published once whatever runs do (`pipeline.sink.slots`). One that was taken for dead says
no more.

Of those that wait the first by name begins; one that finds another at work when it has begun steps
back. The last beat holds the seconds that the start has spent in ops,
and stays until the run is finished: so a run knows what it cost, over all its starts.
"""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Final

from pipeline.index.files import sink_errors
from pipeline.sink.claim import alive, this_host
from pipeline.storage.store import Store
from schemas.errors import NoiseloomError

FOLDER: Final = "sessions"

BEAT_S: Final = 20.0
PATIENCE_S: Final = 120.0
POLL_S: Final = 2.0

ENDED: Final = "ended"
"""Where a number stands otherwise."""

_BEAT: Final = re.compile(rf"([^.]+\.\d+\.[^.]+)\.(?:(w?)(\d+)|{ENDED})\.json")


@dataclass(frozen=True)
class Spent:
    """Seconds of actors in ops and gates, and these times their GPUs."""

    seconds: float = 0.0
    gpu_seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.seconds + other.seconds, self.gpu_seconds + other.gpu_seconds)


@dataclass(frozen=True)
class Beat:
    """The last that a start of a recipe has said. `number` None: it has ended."""

    session: str
    number: int | None
    waits: bool
    path: str

    @property
    def host(self) -> str:
        """The machine."""
        return self.session.split(".")[0]

    @property
    def process(self) -> int:
        """Its number there."""
        return int(self.session.split(".")[1])

    @property
    def rank(self) -> int:
        """Later beats have higher ones."""
        return sys.maxsize if self.number is None else self.number

    @property
    def gone(self) -> bool:
        """Whether it has ended, or its process is known to be gone."""
        if self.number is None:
            return True
        return self.host == this_host() and not alive(self.process)


class Turn:
    """One start of a recipe, the own: `waited` for another one, or not, and what it has spent."""

    def __init__(self, store: Store, recipe: str) -> None:
        self._store, self._folder = store, f"{FOLDER}/{recipe}"
        self._me = f"{this_host()}.{os.getpid()}.{secrets.token_hex(4)}"
        self._run, self._path = "", ""
        self._runs: set[str] = set()
        self._silent: dict[str, Beat] = {}
        self._number, self._waits = -1, True
        self._spent = Spent()
        self._beating, self._over = threading.Lock(), threading.Event()
        self.waited = False

    def begin(self, say: Callable[[str], None]) -> None:
        """Returns when nobody else is at work."""
        self._beat()
        threading.Thread(target=self._work, daemon=True).start()
        seen: dict[str, tuple[int | None, float]] = {}
        while True:
            others = self._living(seen)
            if self._may_begin(others):
                self._waits = False
                self._beat()
                if all(one.waits for one in self._living(seen)):
                    self._end_silent()
                    return
                self._waits = True
                self._beat()
            elif not self.waited:
                one = min(others, key=lambda beat: beat.waits)
                say(
                    f"another start of this recipe is at work (process {one.process} on "
                    f"{one.host}): this one waits for its end, and goes on with what is left"
                )
            self.waited = True
            time.sleep(POLL_S * random.uniform(0.5, 1))

    def _work(self) -> None:
        """Beats until the end, also while it waits; what the store does not take is left out."""
        while not self._over.wait(BEAT_S):
            with suppress(NoiseloomError):
                self._beat()

    def plan(self, run: str) -> None:
        """Which run it works on; said at once, for it may be killed before the next beat."""
        self._run = run
        self._runs.add(run)
        with suppress(NoiseloomError):
            self._beat()

    def take_over(self, runs: Iterable[str]) -> None:
        """What these runs have spent counts, too."""
        self._runs.update(runs)

    def spend(self, spent: Spent) -> None:
        """So much was spent in ops."""
        self._spent += spent

    def spent(self) -> Spent:
        """By all starts of this run and of those taken over, as far as is known."""
        return self._spent_on(self._runs, self._spent)

    def spent_on(self, run: str) -> Spent:
        """By other starts, on this run."""
        return self._spent_on({run}, Spent())

    def _spent_on(self, runs: Collection[str], own: Spent) -> Spent:
        its = [one for one in beats(self._store, self._folder) if one.session != self._me]
        told = (said(self._store, one) for one in its)
        return sum((spent for run, spent in told if run in runs), own)

    def finish(self) -> None:
        """The run has its record: what its starts have said is forgotten."""
        self._over.set()
        its = [one for one in beats(self._store, self._folder) if one.session != self._me]
        done = {*self._runs, ""}  # and of those that had not come to a run
        paths = [one.path for one in its if one.gone and said(self._store, one)[0] in done]
        with self._beating, sink_errors(self._store):
            self._store.delete_many([*paths, self._path])
            self._path = ""

    def end(self) -> None:
        """The start is over, however it ended."""
        self._over.set()
        with self._beating, sink_errors(self._store):
            if self._run and self._path:
                self._say(ENDED)
            elif self._path:
                self._store.delete(self._path)

    def _beat(self) -> None:
        with self._beating:
            if not self._over.is_set():
                self._number += 1
                self._say(f"{'w' if self._waits else ''}{self._number}")

    def _say(self, number: str) -> None:
        text = json.dumps({"run": self._run, **asdict(self._spent)})
        path, last = f"{self._folder}/{self._me}.{number}.json", self._path
        with sink_errors(self._store):
            if last and not self._store.exists(last):  # it was taken for dead: that stands
                self._over.set()
                self._path = ""
                return
            self._store.create(path, text.encode())
            self._path = path
            if last:
                self._store.delete(last)

    def _living(self, seen: dict[str, tuple[int | None, float]]) -> list[Beat]:
        """The others, but for those that are gone or were silent for long."""
        now, living = time.monotonic(), []
        for one in beats(self._store, self._folder):
            if one.session == self._me or one.gone:
                continue
            number, since = seen.get(one.session, (None, now))
            since = since if number == one.number else now
            seen[one.session] = one.number, since
            if now - since < PATIENCE_S:
                living.append(one)
                self._silent.pop(one.session, None)
            else:
                self._silent[one.session] = one
        return living

    def _end_silent(self) -> None:
        """Says for those that were silent that they have ended: the next start need not wait."""
        for one in self._silent.values():
            with sink_errors(self._store), suppress(FileNotFoundError):  # in this order
                text = self._store.read(one.path)
                self._store.create(f"{self._folder}/{one.session}.{ENDED}.json", text)
                self._store.delete(one.path)

    def _may_begin(self, others: list[Beat]) -> bool:
        return all(one.waits and self._me < one.session for one in others)


def said(store: Store, beat: Beat) -> tuple[str, Spent]:
    """The run that a start works on, "" where it has not come to one, and what it has spent."""
    with sink_errors(store):
        try:
            told = json.loads(store.read(beat.path))
            return str(told["run"]), Spent(float(told["seconds"]), float(told["gpu_seconds"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return "", Spent()


def beats(store: Store, folder: str) -> list[Beat]:
    """The last beat of every start of a recipe."""
    with sink_errors(store):
        names = store.entries(folder)
    last: dict[str, Beat] = {}
    for name in names:
        found = _BEAT.fullmatch(name)
        if found is None:
            continue
        session, waits, number = found.groups()
        beat = Beat(
            session, None if number is None else int(number), bool(waits), f"{folder}/{name}"
        )
        if session not in last or beat.rank > last[session].rank:
            last[session] = beat
    return list(last.values())


@contextmanager
def turn(store: Store, recipe: str, say: Callable[[str], None]) -> Iterator[Turn]:
    """The own start's turn; inside the block no other start of the recipe works on this sink."""
    mine = Turn(store, recipe)
    try:
        mine.begin(say)
        yield mine
    finally:
        with suppress(NoiseloomError):  # it is told by its silence, too
            mine.end()
