"""Laws of commit and publish under fire: whatever dies or stands still at whichever step, nothing
is lost, nothing is twice, and the result is the undisturbed run's, byte for byte.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from jobs.gc import gc
from jobs.run.plan import RunPlan
from pipeline.index.files import read_index
from pipeline.storage.store import Store
from tests.jobs.sinks import finish, in_sink, planned_run, verified, work_of, woven_chunks
from tests.pipeline.rows import Woven
from tests.pipeline.steps import Work, killed_at, points, stopped_at
from tests.s3.proxy import Proxy
from tests.s3.server import S3

Chunks = tuple[tuple[str, Woven, int], ...]

POINTS = 2 * (3 + 2 + 2 + 2 + 3)
"""Three chunks, one with quarantine; slot and index; three pending files deleted."""

STOPS = range(0, POINTS, 2)
"""For who stands still, just after a step and just before the next are one."""

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    return planned_run(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def chunks(planned: RunPlan) -> Chunks:
    return woven_chunks(planned)


@pytest.fixture(scope="module")
def others(planned: RunPlan) -> Chunks:
    """The same chunks by another kind of device, as it were: other bytes, under the same names."""
    return woven_chunks(replace(planned, recipe=planned.recipe.model_copy(update={"seed": 4})))


@pytest.fixture(scope="module")
def undisturbed(planned: RunPlan, chunks: Chunks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert points(sink(planned, str(folder), chunks)) == POINTS
    return folder


def sink(planned: RunPlan, url: str, chunks: Chunks, **environment: str) -> Work:
    return replace(work_of(in_sink(planned, url), chunks), environment=environment)


def left(url: str) -> dict[str, bytes]:
    """Every file that holds no time: tars, slots, indexes."""
    store = Store(url)
    folders = ("shards", "quarantine", "index", "attempts")
    return {path: store.read(path) for folder in folders for path in store.list(folder)}


def end(planned: RunPlan, work: Work) -> str:
    """Starts the run again, to its end; what verify says."""
    work.do()
    finish(in_sink(planned, work.url))
    return verified(work.url)


@pytest.mark.parametrize("point", range(POINTS))
def test_a_crash_at_any_step_leaves_what_a_rerun_makes_whole(
    planned: RunPlan, chunks: Chunks, undisturbed: Path, tmp_path: Path, point: int
) -> None:
    work = sink(planned, str(tmp_path), chunks)
    killed_at(point, work)
    end(planned, work)
    assert left(work.url) == left(str(undisturbed))


def test_a_crash_at_any_step_on_s3_leaves_what_a_rerun_makes_whole(
    planned: RunPlan, s3_server: S3, s3_proxy: Proxy
) -> None:
    environment = s3_server.environment(s3_proxy.endpoint)
    plan = replace(planned, chunks=planned.chunks[:1])
    few = woven_chunks(plan)
    bucket = s3_server.bucket()
    last = points(sink(plan, f"{bucket}/undisturbed", few, **environment))
    expected = left(f"{bucket}/undisturbed")
    for point in range(last):
        work = sink(plan, f"{bucket}/{point}", few, **environment)
        killed_at(point, work)
        end(plan, work)
        assert left(work.url) == expected
    assert last == 2 * (3 + 2 + 1)


@pytest.mark.parametrize("point", STOPS)
def test_a_zombie_changes_nothing_that_its_replacement_has_published(
    planned: RunPlan, chunks: Chunks, undisturbed: Path, tmp_path: Path, point: int
) -> None:
    """It stands still at any step while its replacement ends the run and gc runs, and goes on."""
    work = sink(planned, str(tmp_path), chunks)
    with stopped_at(point, work):
        end(planned, work)
        gc(work.url, None, QUIET)
        assert published(work.url) == published(str(undisturbed))
    verified(work.url)
    gc(work.url, None, QUIET)
    assert "finding" not in verified(work.url)
    assert left(work.url) == left(str(undisturbed))


def published(url: str) -> dict[str, bytes]:
    """The indexes that training reads."""
    return {path: data for path, data in left(url).items() if path.count("/") == 1}


@pytest.mark.parametrize("point", STOPS[:-3])
def test_a_zombie_with_other_content_changes_nothing_either(
    planned: RunPlan, chunks: Chunks, others: Chunks, tmp_path: Path, point: int
) -> None:
    """What is committed first counts, by whomever; every copy is there once."""
    zombie = sink(planned, str(tmp_path), others)
    replacement = sink(planned, str(tmp_path), chunks)
    with stopped_at(point, zombie):
        end(planned, replacement)
        gc(zombie.url, None, QUIET)
        before = published(zombie.url)
    gc(zombie.url, None, QUIET)
    assert published(zombie.url) == before
    assert "finding" not in verified(zombie.url)
    index = read_index(Store(zombie.url))
    copies = Counter(zip(index["source_key"].to_pylist(), index["copy"].to_pylist(), strict=True))
    assert len(copies) == 14 and set(copies.values()) == {1}


@pytest.mark.parametrize("point", STOPS)
def test_gc_beside_a_writer_at_any_step_removes_nothing_that_it_needs(
    planned: RunPlan, chunks: Chunks, undisturbed: Path, tmp_path: Path, point: int
) -> None:
    work = sink(planned, str(tmp_path), chunks)
    with stopped_at(point, work):
        there = left(work.url)
        gc(work.url, None, QUIET)
        published_already = point >= POINTS - 7
        assert published_already or left(work.url) == there
    finish(in_sink(planned, work.url))
    assert "finding" not in verified(work.url)
    assert left(work.url) == left(str(undisturbed))
