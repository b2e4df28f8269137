"""Ray says nothing of its own: what the user must know is raised, and said once in our words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.ray_session import QUIET, start_errors
from schemas.errors import RunError

ROOT = Path(__file__).parents[2]

PUSHED = """
from ray._private.worker import print_to_stdstream
for is_err in (False, True):
    lines = ["Traceback (most recent call last):\\n  OSError: [Errno 28]", "", "a node is dead"]
    print_to_stdstream({"lines": lines, "pid": "raylet", "is_err": is_err}, ignore_prefix=False)
"""
"""What the driver's thread `ray_listen_error_messages` does with what a raylet pushes to it."""


def test_what_raylets_push_to_the_driver_is_not_printed() -> None:
    def said(environment: dict[str, str]) -> str:
        done = subprocess.run(
            [sys.executable, "-c", PUSHED],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout + done.stderr

    quiet = {**os.environ, **QUIET}
    loud = {name: value for name, value in quiet.items() if name != "RAY_DEDUP_LOGS_SKIP_REGEX"}
    assert "(raylet) Traceback" in said(loud)
    assert said(quiet) == ""


def test_it_is_told_so_before_it_is_first_imported() -> None:
    """The planner asks Ray what this machine has, before a session starts."""
    first = "from jobs.machines import this_machine; this_machine()"
    environment = {name: value for name, value in os.environ.items() if name not in QUIET}
    done = subprocess.run(
        [sys.executable, "-c", f"{first}\n{PUSHED}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout + done.stderr == ""


def test_a_node_that_does_not_come_up_is_one_line() -> None:
    says = "Ray did not start: The current node timed out .*; start the same command again"
    with pytest.raises(RunError, match=says), start_errors("local"):
        raise Exception("The current node timed out during startup.\nThis could happen")
