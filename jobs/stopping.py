"""SIGTERM, as schedulers and clouds send it: a stop in order, in bounded time.

Inside `stoppable`, the first SIGTERM raises `Terminated` in the main thread. It is a
KeyboardInterrupt, and everything closes as after Ctrl-C: work in hand is dropped, Ray goes down,
MLflow's run ends as KILLED. The command exits with 143, and `jobs.cli.main` says the one line. A
second SIGTERM, or Ctrl-C, ends it at once; so does the clock, should something that is asked to
close not answer. What is committed stays in any case, and the same command goes on from there.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

from jobs.last_word import all_is_told

TERMINATED: Final = 128 + signal.SIGTERM

GRACE_S: Final = 25.0
"""Kubernetes kills after 30 s; a machine that is taken away gives between 30 and 120."""


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


@contextmanager
def stoppable() -> Iterator[None]:
    """A SIGTERM inside ends the block by an exception, and the command with exit code 143. Does
    nothing outside the main thread, where signals cannot be had.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _first)
    try:
        yield
    except Terminated:
        raise SystemExit(TERMINATED) from None
    finally:
        if signal.getsignal(signal.SIGTERM) is _first:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """For what takes SIGTERM over for good, as `ray.init` does: afterwards it is as before. An exit
    by the other handler counts as ours.
    """
    ours = signal.getsignal(signal.SIGTERM)
    if ours is not _first:
        yield
        return
    try:
        yield
    except SystemExit as end:
        if end.code == signal.SIGTERM:
            _first(signal.SIGTERM, None)
        raise
    finally:
        if signal.getsignal(signal.SIGTERM) is not _second:
            signal.signal(signal.SIGTERM, _first)


def _first(number: int, frame: FrameType | None) -> NoReturn:
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, _second)
    _end_after(GRACE_S)
    raise Terminated


def _end_after(seconds: float) -> None:
    watch = threading.Timer(seconds, _end)
    watch.daemon = True  # it runs until the process is gone: what hangs at exit is bounded too
    try:
        watch.start()
    except RuntimeError:  # no thread is to be had: the kernel's own clock ends it, without the line
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _second(number: int, frame: FrameType | None) -> None:
    _end()


def _end() -> None:
    os.write(2, b"stopped at once; what is committed stays, the same command goes on from there\n")
    all_is_told()
    os._exit(TERMINATED)
