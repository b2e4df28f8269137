"""What is said for a process that could not say it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ENDS = """
import os, signal, sys
from jobs.last_word import all_is_told, last_word
with last_word("it was ended"):
    {inside}
"""


def ends(inside: str) -> tuple[int, str]:
    """Exit code and stderr. It comes back when the watching process is gone, too: stderr is its."""
    command = [sys.executable, "-c", ENDS.format(inside=inside)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("inside", "code"),
    [
        ("os._exit(1)", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
    ],
)
def test_who_is_ended_from_outside_is_spoken_for(inside: str, code: int) -> None:
    assert ends(inside) == (code, "it was ended\n")


@pytest.mark.parametrize(
    ("inside", "code"), [("pass", 0), ("sys.exit(2)", 2), ("all_is_told(); os._exit(143)", 143)]
)
def test_who_ends_in_order_speaks_for_itself(inside: str, code: int) -> None:
    assert ends(inside) == (code, "")


def test_ctrl_c_leaves_the_word_where_it_is() -> None:
    waits = "print('up', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", ENDS.format(inside=waits)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of the group
        _, said = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in said
    assert "it was ended" not in said
