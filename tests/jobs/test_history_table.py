"""`noiseloom history` on a terminal of 80 columns."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from jobs import history
from jobs.history import Night

NIGHT = Night(
    finished="2026-11-30T01:00:23+00:00",
    run="nuclei-c0f7d640",
    kind="night",
    samples="24",
    copies="48",
    kept="83.3%",
    failed="0",
    gpu_seconds="0",
    mlflow="sqlite:///mlflow.db 2a1dab60997b41b599f40e79cfb89bf3",
)


def told(found: list[Night], sink: Path, patch: pytest.MonkeyPatch) -> list[str]:
    patch.setattr(history, "nights", lambda store: found)
    out = io.StringIO()
    history.history(str(sink), Console(file=out, force_terminal=True, width=80, no_color=True))
    return out.getvalue().splitlines()


def test_a_night_is_one_line_and_its_link_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = told([NIGHT], tmp_path, monkeypatch)
    (row,) = [line for line in lines if "finished  " in line and "83.3%" in line]
    assert "2026-11-30 01:00" in row and "nuclei-c0f7d640" in row
    assert f"nuclei-c0f7d640: MLflow {NIGHT.mlflow}" in lines


def test_a_column_that_tells_nothing_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = told([NIGHT], tmp_path, monkeypatch)
    assert not any(name in line for line in lines for name in ("verdict", "kind", "GPU"))
    retry = replace(NIGHT, kind="retry", verdict="helps")
    lines = told([NIGHT, retry], tmp_path, monkeypatch)
    assert any("verdict" in line and "kind" in line for line in lines)
