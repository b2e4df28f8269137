"""All images of the source in a run, without Ray: planned, made once, and there for a replay."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from jobs.preview import preview
from jobs.retry import retries
from jobs.run.fingerprints import make_fingerprints, make_shard
from jobs.run.plan import RunPlan
from jobs.verify.sink import verify
from pipeline.flow.fingerprinting import shard_images
from pipeline.index.files import read_index
from pipeline.known.images import missing_of
from pipeline.storage.store import Store
from schemas.errors import SinkError
from tests.jobs.sinks import CLASSIC, finish, planned_run, verified, weave

GATES = "gates: [{kind: near_duplicate, max_copies: null, max_others: 1}]"
"""It measures, and rejects nothing: all images of `planned_run` are much alike."""

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    planned = planned_run(tmp_path_factory.mktemp("run"), f"{CLASSIC}\n{GATES}")
    assert len(missing_of(planned.store, planned.known)) == 2
    weave(planned)
    finish(planned)
    return planned


def test_the_plan_names_a_file_for_each_shard_where_a_gate_asks_for_them(
    pristine: RunPlan, tmp_path: Path
) -> None:
    assert json.loads(pristine.store.read(pristine.path))["known"] == list(pristine.known)
    assert missing_of(pristine.store, pristine.known) == []
    assert planned_run(tmp_path).known == ()


def test_every_row_has_its_score_and_a_replay_comes_out_the_same(pristine: RunPlan) -> None:
    rows = read_index(pristine.store).to_pylist()
    first, later = {"near_duplicate.source", "near_duplicate.others"}, {"near_duplicate.copies"}
    for row in rows:
        if row["status"] == "kept":
            named = {score["gate"] for score in row["scores"]}
            assert named == (first | later if row["copy"] else first)
    assert "3 made again" in verified(pristine.recipe.sink, replay=3)


def test_what_is_there_is_not_made_again_and_needs_no_ray(pristine: RunPlan) -> None:
    make_fingerprints(pristine, "session", QUIET)


def test_a_task_travels_to_its_worker_and_leaves_the_file_of_its_shard(tmp_path: Path) -> None:
    planned = planned_run(tmp_path, f"{CLASSIC}\n{GATES}")
    source, sink = planned.recipe.source, planned.recipe.sink
    for images in shard_images(planned.chunks):
        task, its, layout = pickle.loads(pickle.dumps((make_shard, images, source)))
        task(its, layout, sink, planned.run, "session")
    assert missing_of(planned.store, planned.known) == []
    assert len(planned.store.list(f"attempts/{planned.run}")) == 2


def test_a_replay_or_a_retry_without_them_says_so(pristine: RunPlan, tmp_path: Path) -> None:
    sink = tmp_path / "out"
    shutil.copytree(pristine.recipe.sink, sink)
    (again,) = retries(Store(str(sink)), None, QUIET)
    assert again.known == pristine.known
    shutil.rmtree(sink / "fingerprints")
    with pytest.raises(SinkError, match="is missing, and the retry needs it"):
        make_fingerprints(again, "session", QUIET)
    text = io.StringIO()
    assert verify(str(sink), 1, Console(file=text, width=240)) == 1
    assert "replay_impossible 1" in text.getvalue()


def test_a_preview_holds_its_samples_against_some_and_writes_none(tmp_path: Path) -> None:
    planned = planned_run(tmp_path, f"{CLASSIC}\n{GATES}")
    console = Console(file=io.StringIO(), width=200)
    preview(planned.file, 3, tmp_path / "p.png", console)
    assert isinstance(console.file, io.StringIO)
    assert "held against 6 source images" in console.file.getvalue()  # the seventh is none
    assert not (tmp_path / "out").exists()
