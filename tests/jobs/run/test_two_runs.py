"""Laws of two runs on one sink at the same second: every copy is published, and once."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from jobs.gc import gc
from jobs.run.plan import RunPlan, make_plan
from pipeline.index.files import published_runs, read_index
from pipeline.sink.slots import owners, read_slots
from pipeline.storage.store import Store
from tests.jobs.sinks import finish, in_sink, planned_run, verified, work_of, woven_chunks
from tests.pipeline.shards import sample_files, tar_of
from tests.pipeline.steps import Work, at_once
from tests.pipeline.turns import interleaved

SHARED, TWICE, COLLECTED = (1, 11, 20), (3, 11, 37), (5, 16, 17, 58)
"""Orders that find a fault where one is put: a slot that is not exclusive, a step that takes for
lost what another process has moved, a gc that does not ask for runs under way.
"""


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunPlan, RunPlan]:
    """Two runs of one recipe: on shards 0 and 1, and on shards 1 and 2."""
    folder = tmp_path_factory.mktemp("source")
    first = planned_run(folder)
    files = [file for n in range(4) for file in sample_files(f"s2{n}", width=40 + n)]
    (folder / "train-2.tar").write_bytes(tar_of(files))
    text = first.file.read_text()
    first.file.with_name("later.yaml").write_text(text.replace("train-*", "train-{1..2}"))
    return first, make_plan(folder / "later.yaml")


@pytest.fixture(scope="module")
def works(plans: tuple[RunPlan, RunPlan]) -> tuple[Work, ...]:
    """The two runs, and the first one as another kind of device makes it."""
    other = replace(plans[0], recipe=plans[0].recipe.model_copy(update={"seed": 4}))
    return tuple(Work("", plan.run, woven_chunks(plan)) for plan in (*plans, other))


def begun(url: str, plans: tuple[RunPlan, RunPlan], works: tuple[Work, ...]) -> list[Work]:
    """The same work on this sink, where the plans are."""
    for plan in plans:
        work_of(in_sink(plan, url), ())
    return [replace(work, url=url) for work in works]


def check(url: str, plans: tuple[RunPlan, ...]) -> None:
    """Every copy of every sample once, in whatever run."""
    for plan in plans:
        finish(in_sink(plan, url))
    verified(url)
    index = read_index(Store(url))
    copies = Counter(zip(index["source_key"].to_pylist(), index["copy"].to_pylist(), strict=True))
    keys = {s.key for plan in plans for chunk in plan.chunks for s in chunk.samples}
    assert copies == Counter({(key, copy): 1 for key in keys for copy in range(2)})
    slots = read_slots(Store(url))
    assert set(owners(slots)) == {chunk.id for plan in plans for chunk in plan.chunks}


@pytest.mark.parametrize("seed", SHARED)
def test_runs_with_overlapping_plans_share_their_chunks(
    plans: tuple[RunPlan, RunPlan], works: tuple[Work, ...], seed: int
) -> None:
    url = f"memory://overlapping-{seed}"
    first, later, _ = begun(url, plans, works)
    interleaved(seed, [first.do, later.do])
    check(url, plans)


@pytest.mark.parametrize("seed", TWICE)
def test_one_run_started_twice_is_one_run(
    plans: tuple[RunPlan, RunPlan], works: tuple[Work, ...], seed: int
) -> None:
    """Even if the two make other bytes of the same samples."""
    url = f"memory://twice-{seed}"
    first, _, other = begun(url, plans, works)
    Store(url).delete(plans[1].path)
    interleaved(seed, [first.do, other.do])
    check(url, plans[:1])
    assert published_runs(Store(url)) == [plans[0].run]


@pytest.mark.parametrize("seed", COLLECTED)
def test_gc_among_running_runs_takes_nothing_from_them(
    plans: tuple[RunPlan, RunPlan], works: tuple[Work, ...], seed: int
) -> None:
    url = f"memory://gc-{seed}"
    first, later, other = begun(url, plans, works)

    def collect() -> None:
        for _ in range(3):
            gc(url, None, Console(quiet=True))

    interleaved(seed, [first.do, later.do, other.do, collect])
    check(url, plans)
    gc(url, None, Console(quiet=True))
    assert "finding" not in verified(url)


def test_processes_that_publish_at_once(
    plans: tuple[RunPlan, RunPlan], works: tuple[Work, ...], tmp_path: Path
) -> None:
    for attempt in range(3):
        url = str(tmp_path / f"{attempt}")
        at_once(begun(url, plans, works))
        check(url, plans)
        shutil.rmtree(url)
