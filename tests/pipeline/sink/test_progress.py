"""How far a run is, told from its sink: planned, half done, committed, published, resumed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from jobs.run.plan import RunPlan, write_plan
from pipeline.sink import progress
from pipeline.sink.commit import commit_chunk
from pipeline.sink.progress import mlflow_link, progress_of, runs_in
from pipeline.sink.run_files import Outcomes
from pipeline.storage.store import Store
from schemas.errors import SinkError
from tests.jobs.sinks import finish, planned_run, woven_chunks
from tests.pipeline.rows import Woven

Chunks = tuple[tuple[str, Woven, int], ...]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunPlan, Chunks]:
    planned = planned_run(tmp_path_factory.mktemp("progress"))
    return planned, woven_chunks(planned)


@pytest.fixture
def planned(made: tuple[RunPlan, Chunks], tmp_path: Path) -> RunPlan:
    from tests.jobs.sinks import in_sink

    return in_sink(made[0], str(tmp_path / "out"))


def commit(planned: RunPlan, chunks: Chunks, at: list[int]) -> None:
    """Commits so many chunks, each at its second since 1970."""
    for (chunk, woven, attempted), second in zip(chunks, at, strict=False):
        commit_chunk(planned.store, planned.run, chunk, woven, attempted)
        path = Path(planned.recipe.sink) / f"index/_pending/{planned.run}/{chunk}.parquet"
        os.utime(path, (second, second))


def of(planned: RunPlan) -> progress.Progress:
    (one,) = progress_of(planned.store, [planned.run])
    return one


def test_a_sink_without_anything_has_no_runs(tmp_path: Path) -> None:
    assert runs_in(Store(str(tmp_path / "nothing"))) == []


def test_a_planned_run_has_all_before_it(planned: RunPlan) -> None:
    write_plan(planned)
    assert runs_in(planned.store) == [planned.run]
    one = of(planned)
    assert (one.state, one.committed, one.chunks, one.copies) == ("planned", 0, 3, 14)
    assert (one.rate, one.left_s, one.counts.attempted, one.changed) == (None, None, 0, None)


def test_pace_and_time_left_are_of_the_chunks_committed(
    planned: RunPlan, made: tuple[RunPlan, Chunks]
) -> None:
    write_plan(planned)
    commit(planned, made[1], at=[1000, 1004])
    one = of(planned)
    assert (one.state, one.committed, one.chunks) == ("under way", 2, 3)
    first, second = (attempted for _, _, attempted in made[1][:2])
    assert one.rate == second / 4
    assert one.left_s == (14 - first - second) / (second / 4)
    assert one.counts == Outcomes(kept=first + second - 2, failed=2)  # the sample that is no image
    assert one.changed is not None and one.changed.timestamp() == 1004


def test_a_pause_between_two_sessions_does_not_count_for_the_pace(
    planned: RunPlan, made: tuple[RunPlan, Chunks]
) -> None:
    write_plan(planned)
    commit(planned, made[1], at=[1000, 90_000, 90_002])
    one = of(planned)
    assert (one.state, one.left_s) == ("committed", 0)
    assert one.rate == made[1][2][2] / 2


def test_two_commits_in_one_second_of_a_coarse_clock_tell_no_pace(
    planned: RunPlan, made: tuple[RunPlan, Chunks]
) -> None:
    write_plan(planned)
    commit(planned, made[1], at=[1000, 1000])
    assert of(planned).rate is None


def test_of_very_many_chunks_a_part_is_read_and_the_counts_say_so(
    planned: RunPlan, made: tuple[RunPlan, Chunks], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "READ_AT_MOST", 2)
    write_plan(planned)
    commit(planned, made[1], at=[1, 2, 3])
    one = of(planned)
    assert one.estimated and one.committed == 3
    read = sum(made[1][i][2] for i in (0, 1))
    assert one.counts.attempted == pytest.approx(read * 3 / 2, abs=1)


def test_a_published_run_tells_what_its_record_holds(
    planned: RunPlan, made: tuple[RunPlan, Chunks]
) -> None:
    write_plan(planned)
    commit(planned, made[1], at=[1, 2, 3])
    finish(planned)
    one = of(planned)
    assert (one.state, one.committed, one.chunks, one.left_s) == ("published", 3, 3, None)
    assert one.counts == Outcomes(kept=12, failed=2)
    assert (one.rate, one.estimated) == (14.0, False)
    (Path(planned.recipe.sink) / f"runs/{planned.run}.json").unlink()  # killed before it was there
    again = of(planned)
    assert (again.state, again.counts, again.rate) == ("published", one.counts, None)


def test_chunks_that_another_run_has_published_are_done_and_not_counted(
    planned: RunPlan, made: tuple[RunPlan, Chunks]
) -> None:
    write_plan(planned)
    commit(planned, made[1], at=[1, 2, 3])
    finish(planned)
    folder = Path(planned.recipe.sink)
    plan = (folder / f"runs/{planned.run}.plan.json").read_bytes()
    (folder / "runs/later-00000000.plan.json").write_bytes(plan)
    assert runs_in(planned.store) == [planned.run, "later-00000000"]
    (one, _) = progress_of(planned.store, ["later-00000000", planned.run])
    assert (one.run, one.state, one.committed, one.copies) == ("later-00000000", "taken over", 3, 0)


def test_chunks_of_which_no_copy_is_planned_are_not_waited_for(
    planned: RunPlan, made: tuple[RunPlan, Chunks]
) -> None:
    write_plan(planned)
    path = Path(planned.recipe.sink) / planned.path
    plan = json.loads(path.read_bytes())
    (last,) = (chunk for chunk in plan["chunks"] if chunk["id"] == made[1][-1][0])
    last["copies"] = [0] * last["samples"]
    path.write_text(json.dumps(plan))
    commit(planned, made[1], at=[1])
    assert (of(planned).state, of(planned).chunks) == ("under way", 2)
    commit(planned, made[1][1:2], at=[2])
    one = of(planned)
    assert (one.state, one.committed, one.chunks, one.left_s) == ("committed", 2, 2, 0)


def test_a_plan_that_is_none_is_named(planned: RunPlan) -> None:
    planned.store.create("runs/odd-1.plan.json", b'{"recipe": {}, "chunks": [{"id": 7}]}')
    with pytest.raises(SinkError, match=r"odd-1\.plan\.json: not as .* chunks\.0\.id"):
        progress_of(planned.store, ["odd-1"])


def test_a_link_leads_to_the_run_on_a_server_and_names_a_file_else() -> None:
    assert mlflow_link("http://head:5000/", "abc") == "http://head:5000/#/runs/abc"
    assert mlflow_link("http://head:5000", None) == "http://head:5000"
    assert mlflow_link("sqlite:///mlflow.db", "abc") == "sqlite:///mlflow.db abc"
    assert mlflow_link(None, "abc") is None
