"""What the README shows must work as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from jobs.cli.main import app
from pipeline.recipe import load_recipe

README = Path(__file__).parents[1] / "README.md"


def test_every_recipe_in_the_readme_is_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    assert blocks
    monkeypatch.chdir(README.parent)
    for block in blocks:
        (tmp_path / "shown.yaml").write_text(block)
        load_recipe(tmp_path / "shown.yaml")


def test_every_command_is_in_the_readme_and_no_other() -> None:
    said = re.findall(r"^\| `noiseloom ([a-z]+)", README.read_text(), re.MULTILINE)
    assert set(said) == set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
