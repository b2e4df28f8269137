"""Threads that take turns at every call of a store, in an order that a seed gives.

Two processes on one sink meet in countless orders, and a race of real processes shows one of them.
Here each seed is another order, and always the same: some change turns often, some leave one
thread alone for long. What a thread does between two calls of the store touches nothing that others
see; its own pool of readers belongs to its turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from random import Random

from pipeline.storage.store import Store

CALLS = ("create", "delete_many", "entries", "list", "stat", "read")


class Turns:
    """Who may go on: one thread at a time, chosen anew at every call."""

    def __init__(self, seed: int, names: Sequence[str]) -> None:
        self._random = Random(seed)
        self._restless = self._random.choice((0.04, 0.15, 0.6))
        self._changed = threading.Condition()
        self._alive = list(names)
        self._turn = self._random.choice(self._alive)

    def pass_on(self) -> None:
        """Waits for the next turn of this thread; others, such as its readers, are not asked."""
        me = threading.current_thread().name
        with self._changed:
            if me in self._alive:
                if self._random.random() < self._restless:
                    self._choose()
                self._changed.wait_for(lambda: self._turn == me)

    def start(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._turn == threading.current_thread().name)

    def end(self) -> None:
        with self._changed:
            self._alive.remove(threading.current_thread().name)
            self._choose()

    def _choose(self) -> None:
        if self._alive:
            self._turn = self._random.choice(self._alive)
        self._changed.notify_all()


def interleaved(seed: int, tasks: Sequence[Callable[[], None]]) -> None:
    """Runs the tasks at once, in the order of this seed; raises what one of them raised."""
    names = [f"task {i}" for i in range(len(tasks))]
    turns, errors = Turns(seed, names), list[BaseException]()

    def run(task: Callable[[], None]) -> None:
        turns.start()
        try:
            task()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)
        finally:
            turns.end()

    threads = [
        threading.Thread(target=run, args=(task,), name=name)
        for name, task in zip(names, tasks, strict=True)
    ]
    with _taking(turns):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


@contextmanager
def _taking(turns: Turns) -> Iterator[None]:
    calls = {name: getattr(Store, name) for name in CALLS}

    def taking(call: Callable[..., object]) -> Callable[..., object]:
        @wraps(call)
        def takes(*args: object, **kwargs: object) -> object:
            turns.pass_on()
            return call(*args, **kwargs)

        return takes

    for name, call in calls.items():
        setattr(Store, name, taking(call))
    try:
        yield
    finally:
        for name, call in calls.items():
            setattr(Store, name, call)
