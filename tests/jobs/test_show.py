"""Show: the whole history of a sample, and its picture."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from jobs.run.plan import RunPlan
from jobs.show import show
from pipeline.index.files import read_index
from schemas.errors import SinkError
from schemas.index import table_to_rows
from tests.jobs.sinks import finish, planned_run, weave

Tell = Callable[[str], str]


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPlan:
    monkeypatch.chdir(tmp_path)
    planned = planned_run(tmp_path)
    weave(planned)
    return planned


@pytest.fixture
def tell(planned: RunPlan) -> Tell:
    """What `show` prints for a key."""

    def told(key: str) -> str:
        console = Console(file=io.StringIO(), width=160)
        show(planned.recipe.sink, key, console)
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    return told


def test_it_tells_of_all_copies_with_every_draw_and_place(planned: RunPlan, tell: Tell) -> None:
    rows = [
        row
        for row in table_to_rows(read_index(planned.store, pending=True))
        if row.source_key == "s02"
    ]
    text = tell("s02")
    assert "s02  2 copies" in text
    for row in rows:
        assert f"copy {row.copy}: kept" in text
        assert row.sample_id in text and str(row.shard) in text and row.run in text
        assert row.ops[0].step in text and "set to min_visibility 0.1, p 1.0" in text
        assert row.ops[0].draw.removeprefix('{"seed":').removesuffix("}") in text
        for member in row.members:
            assert f"{member.size} bytes at {member.offset}" in text


def test_a_source_key_an_output_key_and_an_id_name_the_same_history(
    planned: RunPlan, tell: Tell
) -> None:
    (row,) = [
        row
        for row in table_to_rows(read_index(planned.store, pending=True))
        if row.key == "s02-001"
    ]
    assert tell("s02") == tell("s02-001") == tell(row.sample_id)


def test_it_tells_the_same_before_and_after_publishing(planned: RunPlan, tell: Tell) -> None:
    before = tell("s11")
    finish(planned)
    assert tell("s11") == before


def test_a_failed_sample_has_a_history_and_a_picture(planned: RunPlan, tell: Tell) -> None:
    assert "failed, unknown_format" in tell("s00")
    with Image.open("s00-history.png") as picture:
        assert picture.height > 300


def test_the_picture_is_made_without_the_source_where_that_is_gone(
    planned: RunPlan, tell: Tell
) -> None:
    for shard in planned.shards:
        Path(shard.url).unlink()
    assert "s02-history.png" in tell("s02")
    with Image.open("s02-history.png") as picture:
        assert picture.height > 600


def test_a_misspelt_key_is_told_the_nearest_ones(planned: RunPlan, tell: Tell) -> None:
    with pytest.raises(
        SinkError, match=r"no sample 's02_001' among 14 copies; did you mean s02-001"
    ):
        tell("s02_001")


def test_a_sink_without_an_index_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SinkError, match="there is no index"):
        show(str(tmp_path / "empty"), "s02", Console(file=io.StringIO()))
