"""Processes that write to a sink, and die or stop at a given step of it.

A step is a call that changes the store: of `create`, or the deletion of one file. Point 2k is just
before the k-th step, 2k + 1 just after it. Nothing is faked: the process is gone (`os._exit`, no
clean-up), or it is stopped by SIGSTOP, and goes on when it is continued.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path

from pipeline.sink.commit import commit_chunk
from pipeline.sink.publication import committed, publish
from pipeline.storage.store import Store
from schemas.index import rows_to_table
from tests.pipeline.rows import Woven, row

DIED = 77

rows_to_table([row("a")])  # what pyarrow imports at the first row, once and not in every child

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Work:
    """All that a run writes between its plan and its record: the chunks in order, each with how
    many copies were attempted.
    """

    url: str
    run: str
    chunks: tuple[tuple[str, Woven, int], ...]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def order(self) -> list[str]:
        return [chunk for chunk, _, _ in self.chunks]

    def do(self) -> None:
        """Commits what is not committed, and publishes."""
        store = Store(self.url)
        done = committed(store, self.run)
        for chunk, woven, attempted in self.chunks:
            if chunk not in done:
                commit_chunk(store, self.run, chunk, woven, attempted)
        publish(store, self.run, self.order)


def points(work: Work) -> int:
    """Does the work right here, undisturbed; how many points there are to interrupt it at."""
    passed = 0

    def passing(point: int) -> None:
        nonlocal passed
        passed = point + 1

    with interrupted(passing):
        work.do()
    return passed


def killed_at(point: int, work: Work) -> None:
    """Another process does the work and dies at this point."""
    process = _forks.Process(target=_die_at, args=(point, work))
    process.start()
    process.join(60)
    assert process.exitcode == DIED


def at_once(works: Sequence[Work]) -> None:
    """A process for each, let go together when all are there."""
    barrier = _forks.Barrier(len(works))
    processes = [_forks.Process(target=_do_at_once, args=(work, barrier)) for work in works]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(works)


@contextmanager
def stopped_at(point: int, work: Work) -> Iterator[None]:
    """Another process does the work and is stopped at this point while the block runs; at its end
    it is continued, and must end well.
    """
    process = _forks.Process(target=_stop_at, args=(point, work))
    process.start()
    _await_stop(process)
    try:
        yield
    finally:
        os.kill(process.pid or 0, signal.SIGCONT)
        process.join(60)
    assert process.exitcode == 0


@contextmanager
def interrupted(at: Callable[[int], None]) -> Iterator[None]:
    """Calls `at` at every point of what the block does to any store."""
    create, delete_many, steps = Store.create, Store.delete_many, count()

    def creates(self: Store, path: str, data: bytes) -> bool:
        step = next(steps)
        at(2 * step)
        done = create(self, path, data)
        at(2 * step + 1)
        return done

    def deletes(self: Store, paths: Sequence[str]) -> None:
        for path in paths:
            step = next(steps)
            at(2 * step)
            delete_many(self, [path])
            at(2 * step + 1)

    Store.create, Store.delete_many = creates, deletes  # type: ignore[method-assign]
    try:
        yield
    finally:
        Store.create, Store.delete_many = create, delete_many  # type: ignore[method-assign]


def _do_at_once(work: Work, barrier: Barrier) -> None:
    barrier.wait(60)
    work.do()


def _die_at(point: int, work: Work) -> None:
    _go(work, lambda now: os._exit(DIED) if now == point else None)


def _stop_at(point: int, work: Work) -> None:
    _go(work, lambda now: os.kill(os.getpid(), signal.SIGSTOP) if now == point else None)


def _go(work: Work, at: Callable[[int], None]) -> None:
    os.environ.update(work.environment)
    with interrupted(at):
        work.do()


def _await_stop(process: BaseProcess) -> None:
    """State T, the field behind the name in parentheses."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "T":
            return
        assert state != "Z", "it ended before that point"
        time.sleep(0.005)
    raise AssertionError("it never came to that point")
