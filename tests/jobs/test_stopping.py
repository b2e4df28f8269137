"""SIGTERM to a process of its own, without Ray; whole runs are in test_faults.py."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.stopping import TERMINATED

ROOT = Path(__file__).parents[2]

START = """
import signal, sys, time
from jobs import stopping
from jobs.stopping import sigterm_kept, stoppable

def wait(word):
    print(word, flush=True)
    for _ in range(600):
        time.sleep(0.1)  # not once 60 s: a signal just before a sleep is only seen after it
"""


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", START + code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def term_at(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"{word}\n"
    process.send_signal(signal.SIGTERM)


def test_the_first_sigterm_closes_everything_on_the_way_out() -> None:
    code = """
with stoppable():
    try:
        wait("work")
    finally:
        print("closed", flush=True)
"""
    with running(code) as process:
        term_at(process, "work")
        said, wrong = process.communicate(timeout=30)
        assert (process.returncode, said, wrong) == (TERMINATED, "closed\n", "")


def test_a_second_signal_ends_at_once_whatever_is_being_closed() -> None:
    code = """
with stoppable():
    try:
        wait("work")
    finally:
        wait("closing")
"""
    for second in (signal.SIGTERM, signal.SIGINT):
        with running(code) as process:
            term_at(process, "work")
            assert process.stdout is not None
            assert process.stdout.readline() == "closing\n"
            process.send_signal(second)
            _, wrong = process.communicate(timeout=30)
            assert process.returncode == TERMINATED
            assert wrong.startswith("stopped at once")


def test_what_does_not_close_is_left_when_the_time_is_over() -> None:
    code = """
stopping.GRACE_S = 0.2
with stoppable():
    try:
        wait("work")
    finally:
        wait("closing")
"""
    with running(code) as process:
        term_at(process, "work")
        _, wrong = process.communicate(timeout=30)
        assert process.returncode == TERMINATED, wrong


def test_a_machine_that_gives_no_thread_still_ends_it_when_the_time_is_over() -> None:
    code = """
stopping.GRACE_S = 0.2

def refused(self):
    raise RuntimeError("can't start new thread")

stopping.threading.Thread.start = refused
with stoppable():
    try:
        wait("work")
    finally:
        wait("closing")
"""
    with running(code) as process:
        term_at(process, "work")
        _, wrong = process.communicate(timeout=30)
        assert (process.returncode, wrong) == (-signal.SIGALRM, "")


def test_who_takes_the_signal_over_gives_it_back() -> None:
    """As `ray.init` does: the exit by its own handler, inside and after the block."""
    code = """
def theirs(*_):
    sys.exit(15)

with stoppable():
    with sigterm_kept():
        signal.signal(signal.SIGTERM, theirs)
        {inside}
    {after}
"""
    for inside, after in [("wait('here')", "pass"), ("pass", "wait('here')")]:
        with running(code.format(inside=inside, after=after)) as process:
            term_at(process, "here")
            _, wrong = process.communicate(timeout=30)
            assert (process.returncode, wrong) == (TERMINATED, "")
