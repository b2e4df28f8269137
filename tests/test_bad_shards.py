"""Whatever a shard holds: its good samples come through, and the bad one is told of by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bad.code import CANARY
from tests.bad.kinds import KINDS

ROOT = Path(__file__).parents[1]
MOST = 1.5e9


@dataclass(frozen=True)
class Told:
    """What one process that read all kinds has to say."""

    kinds: dict[str, list[str]]
    peak: int
    left: list[str]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """In a process of its own, so that its memory can be measured. Its warnings are errors."""
    folder = tmp_path_factory.mktemp("bad")
    command = [sys.executable, "-W", "error", "-m", "tests.bad.running", "told.json", *KINDS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_ALBUMENTATIONS_UPDATE": "1"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    record = json.loads((folder / "told.json").read_text())
    left = [path.name for path in folder.iterdir()]
    return Told(record["kinds"], record["peak"], left)


@pytest.mark.parametrize("kind", KINDS)
def test_good_samples_come_through_and_bad_ones_fail_by_name(told: Told, kind: str) -> None:
    assert told.kinds[kind] == []


def test_a_reader_takes_less_than_one_and_a_half_gigabytes(told: Told) -> None:
    assert 0.05e9 < told.peak < MOST


def test_memory_is_that_of_the_process_itself_and_not_of_the_one_that_started_it() -> None:
    child = "from tests.bad.memory import peak; print(peak())"
    parent = (
        f"import subprocess, sys; held = b'x' * {int(MOST)}; {child}; "
        f'subprocess.run([sys.executable, "-c", "{child}"], check=True)'
    )
    done = subprocess.run(
        [sys.executable, "-u", "-c", parent], cwd=ROOT, capture_output=True, text=True, check=True
    )
    large, small = map(int, done.stdout.split())
    assert small < 0.05e9 < MOST < large < 1.1 * MOST


def test_nothing_that_was_read_was_run(told: Told) -> None:
    assert CANARY not in told.left
    assert told.left == ["told.json"]
