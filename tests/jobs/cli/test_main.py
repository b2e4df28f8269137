"""The command line from outside: what it imports, what it says, and its exit codes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from rich.console import Console

from jobs.run.augment import dry_run
from tests.jobs.sinks import planned_run


def noiseloom(*arguments: str, cwd: Path, columns: int = 100) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from jobs.cli.main import main; main()", *arguments]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "COLUMNS": f"{columns}",
    }
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env=environment
    )


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return planned_run(tmp_path).file


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['noiseloom', '--help']\n"
        "from jobs.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'ray', 'mlflow', 'numpy', 'pyarrow', 'albumentations', 'diffusers')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.stderr.strip() == "[]"
    for command in ("run", "preview", "verify", "show", "gc", "retry", "train"):
        assert command in done.stdout


def test_it_says_its_version_and_helps_in_short(tmp_path: Path) -> None:
    assert noiseloom("--version", cwd=tmp_path).stdout == f"noiseloom {version('noiseloom')}\n"
    assert "--dry-run" in noiseloom("run", "-h", cwd=tmp_path).stdout


def test_a_dry_run_prints_the_plan_and_the_digest_and_writes_nothing(recipe: Path) -> None:
    before = sorted(recipe.parent.iterdir())
    done = noiseloom("run", str(recipe), "--dry-run", cwd=recipe.parent)
    assert done.returncode == 0
    assert "digest" in done.stderr
    told = "".join(done.stderr.split())  # a long path wraps, wherever that falls
    assert "train-0.tar:4samples,2chunks" in told
    assert sorted(recipe.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("classic", "clasic", "did you mean classic?"),
        ("copies: 2", "copies: 0", "line 4, copies: is 0"),
        ("train-*", "gone-*", "matches no file"),
        ("models: {}", "models: {a: {native: gone}}", "no such file"),
        ("copies: 2", "copys: 2", "did you mean copies?"),
    ],
)
def test_a_mistake_is_one_screen_on_stderr_with_exit_code_2(
    recipe: Path, old: str, new: str, said: str
) -> None:
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))
    done = noiseloom("run", str(recipe), cwd=recipe.parent)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 24


def test_a_source_without_a_sample_is_exit_code_2(recipe: Path) -> None:
    for number in range(2):
        (recipe.parent / f"train-{number}.tar").write_bytes(b"no tar" * 1000)
    done = noiseloom("run", str(recipe), cwd=recipe.parent)
    assert done.returncode == 2
    assert "train-0.tar" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_misspelt_command_line_is_exit_code_2(tmp_path: Path) -> None:
    assert noiseloom("runn", cwd=tmp_path).returncode == 2
    assert noiseloom("run", cwd=tmp_path).returncode == 2
    assert noiseloom("run", "gone.yaml", "--fast", cwd=tmp_path).returncode == 2


def test_a_message_with_brackets_is_printed_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("source: {shards: []}\nsink: x\nops: [{kind: '[red]'}]\n")
    done = noiseloom("run", "r.yaml", cwd=tmp_path)
    assert 'ops[0].kind: there is no kind "[red]"' in done.stderr


def test_no_line_of_help_ends_in_mid_sentence_on_80_columns(tmp_path: Path) -> None:
    """Of the longer texts each line ends as it was written, and none is wrapped."""
    for command in ("import voc", "import yolo"):
        done = noiseloom(*command.split(), "--help", cwd=tmp_path, columns=80)
        text = done.stdout.partition("╭")[0]
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        assert all(line.endswith((".", "]")) or "noiseloom" in line for line in lines), lines


@pytest.mark.parametrize("option", ["--run", "--runs"])
def test_export_names_runs_as_the_other_commands_do(tmp_path: Path, option: str) -> None:
    (tmp_path / "out").mkdir()
    done = noiseloom("export", "coco", "out", "coco", option, "cells-1", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr == "out: no run cells-1 is published; there are: none\n"


def test_a_terminal_shows_that_the_recipe_is_being_checked(recipe: Path) -> None:
    out = io.StringIO()
    dry_run(recipe, Console(file=out, force_terminal=True, width=100))
    assert "checking the recipe" in out.getvalue()
