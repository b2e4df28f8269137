"""Preview: a picture of what a recipe does, and nothing else."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from jobs.picture_file import save_picture
from jobs.preview import preview
from pipeline.pictures.sheet import Pair
from schemas.errors import NoiseloomError, RecipeError, SinkError
from tests.jobs.sinks import planned_run


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Pair]:
    """What the preview puts on its sheet."""
    pairs: list[Pair] = []

    def sheet(given: list[Pair], *_: object) -> Image.Image:
        pairs.extend(given)
        return Image.new("RGB", (4, 4))

    monkeypatch.setattr("jobs.preview.before_after", sheet)
    return pairs


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def test_it_writes_a_picture_and_leaves_the_sink_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = planned_run(tmp_path).file
    console = quiet()
    assert preview(recipe, 3, None, console) == Path("cells-preview.png")
    with Image.open(tmp_path / "cells-preview.png") as picture:
        assert picture.width > 500
    assert not (tmp_path / "out").exists()
    assert isinstance(console.file, io.StringIO)
    assert "3 samples from 2 of 2 shards: cells-preview.png" in console.file.getvalue()


def test_its_samples_are_spread_from_the_first_to_the_last(
    tmp_path: Path, shown: list[Pair]
) -> None:
    preview(planned_run(tmp_path).file, 3, tmp_path / "p.png", quiet())
    keys = [pair.row.source_key for pair in shown if not pair.header]
    assert keys[0] == "s00" and keys[-1] == "s12" and len(keys) == 3


def test_more_than_there_are_is_all_there_are(tmp_path: Path, shown: list[Pair]) -> None:
    preview(planned_run(tmp_path).file, 50, tmp_path / "p.png", quiet())
    assert len(shown) == 7


def test_a_broken_sample_has_its_row(tmp_path: Path, shown: list[Pair]) -> None:
    preview(planned_run(tmp_path).file, 7, tmp_path / "p.png", quiet())
    assert (shown[0].row.status, shown[0].row.reason) == ("failed", "unknown_format")
    assert {pair.row.status for pair in shown[1:]} == {"kept"}


def test_it_shows_what_the_run_makes_as_its_first_copy(tmp_path: Path, shown: list[Pair]) -> None:
    preview(planned_run(tmp_path).file, 7, tmp_path / "p.png", quiet())
    again: list[Pair] = list(shown)
    shown.clear()
    preview(planned_run(tmp_path).file, 7, tmp_path / "p.png", quiet())
    for one, other in zip(again, shown, strict=True):
        assert one.row == other.row and one.row.copy == 0
        if one.woven is not None and other.woven is not None:
            assert np.array_equal(one.woven.image_hwc, other.woven.image_hwc)


def test_every_op_is_seen_alone_however_rarely_it_is_taken(
    tmp_path: Path, shown: list[Pair]
) -> None:
    ops = (
        "- {kind: classic, p: 0.0, transforms: [{HorizontalFlip: {p: 1}}]}\n"
        "- {kind: classic, p: 0.001, transforms: [{Blur: {p: 1}}]}"
    )
    preview(planned_run(tmp_path, ops).file, 4, tmp_path / "p.png", quiet())
    alone = [pair for pair in shown if pair.header]
    assert [pair.header for pair in alone] == ["classic alone", "classic alone"]
    assert all(pair.row.status == "kept" and len(pair.row.ops) == 1 for pair in alone)


def test_a_mistake_in_the_recipe_is_told_before_anything_is_read(tmp_path: Path) -> None:
    recipe = tmp_path / "bad.yaml"
    recipe.write_text("source: {shards: nowhere.tar}\nsink: out\nops: [{kind: clasic}]\n")
    with pytest.raises(NoiseloomError, match="classic"):
        preview(recipe, 2, None, quiet())


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("gone/a.png", "there is no folder"),
        ("a.xyz", "its name must end with .png"),
        (".", "a folder; name the picture"),
    ],
)
def test_a_picture_that_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, said: str
) -> None:
    monkeypatch.setattr("jobs.preview.load_recipe", None)
    with pytest.raises(RecipeError, match=said):
        preview(tmp_path / "cells.yaml", 1, tmp_path / out, quiet())


def test_a_disk_that_takes_no_picture_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(SinkError, match=r"a.png: Is a directory"):
        save_picture(Image.new("RGB", (4, 4)), tmp_path / "a.png")


def test_copies_that_failed_are_told_with_the_first_reason(tmp_path: Path) -> None:
    recipe = planned_run(tmp_path).file
    recipe.write_text(recipe.read_text().replace("[cell]", "[nucleus]"))
    console = quiet()
    preview(recipe, 3, tmp_path / "a.png", console)
    assert isinstance(console.file, io.StringIO)
    assert "3 of them failed; s00: unknown_format: neither JPEG" in console.file.getvalue()
