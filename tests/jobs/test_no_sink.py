"""A sink that is not one: every command that looks at sinks says so alike, and makes nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.jobs.cli.test_main import noiseloom
from tests.jobs.sinks import planned_run

LOOKING = [
    "verify {}",
    "gc {}",
    "gc --dry-run {}",
    "retry {}",
    "gates {}",
    "regate {} gates.yaml",
    "show {} a-key",
    "history {}",
    "export coco {} out",
]


def looked(command: str, sink: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    (cwd / "gates.yaml").write_text("gates: []\n")
    return noiseloom(*command.format(sink).split(), cwd=cwd)


@pytest.mark.parametrize("command", [*LOOKING, "status {}"])
def test_a_sink_that_is_not_there_is_said_and_not_made(command: str, tmp_path: Path) -> None:
    done = looked(command, "./outt/cells", tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith("./outt/cells: there is no such folder")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "outt").exists()


@pytest.mark.parametrize("command", ["gc {}", "history {}", "status {}"])
def test_a_sink_that_is_a_file_is_said(command: str, tmp_path: Path) -> None:
    (tmp_path / "a.tar").touch()
    for sink, what in (("./a.tar", "a file"), ("a.tar/cells", "a.tar is a file")):
        done = looked(command, sink, tmp_path)
        assert done.returncode == 3
        assert done.stderr == f"{sink}: {what}; a sink is a folder\n"


def test_a_recipe_whose_sink_is_a_file_is_not_started(tmp_path: Path) -> None:
    recipe = planned_run(tmp_path).file
    (tmp_path / "out").touch()
    done = noiseloom("run", "--dry-run", str(recipe), cwd=tmp_path)
    assert done.returncode == 3
    assert f"{tmp_path}/out: a file; a sink is a folder" in done.stderr


def test_a_sink_without_a_run_is_said_by_status(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    done = noiseloom("status", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "out: no run has begun here\n")
