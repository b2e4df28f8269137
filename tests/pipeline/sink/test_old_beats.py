"""Laws of what gc may take out of `sessions/`: nothing that a start at work could need."""

from __future__ import annotations

import io
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from jobs.gc import dry_run, gc
from pipeline.sink.claim import this_host
from pipeline.sink.old_beats import SILENT, old_beats
from pipeline.sink.publication import publish
from pipeline.sink.turns import turn
from pipeline.storage.store import Store
from tests.pipeline.sink.test_leftovers import commit, plan

LONG_S = SILENT.total_seconds() + 3600
FAR = "far-away.1.aaaaaaaa"
FARTHER = "farther.2.bbbbbbbb"
GONE = f"{this_host()}.999999999.cccccccc"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Of the recipe `cells`, a run that has its record, one that is published and has none yet, and
    one that is not finished.
    """
    store = Store(str(tmp_path / "out"))
    for run in ("done", "unrecorded"):
        plan(store, run, f"{run}-chunk")
        commit(store, run, f"{run}-chunk")
        publish(store, run, [f"{run}-chunk"])
    store.create("runs/done.json", b"{}")
    plan(store, "open", "c1", "c2")
    commit(store, "open", "c1")
    return store


def beat(store: Store, session: str, number: object, run: str, recipe: str = "cells") -> str:
    """One that is long ago."""
    path = f"sessions/{recipe}/{session}.{number}.json"
    store.create(path, json.dumps({"run": run, "seconds": 2, "gpu_seconds": 1}).encode())
    assert store.local is not None
    then = (store.local / "runs/open.plan.json").stat().st_mtime - LONG_S
    os.utime(store.local / path, (then, then))
    return path


def young(store: Store, path: str) -> str:
    assert store.local is not None
    os.utime(store.local / path)
    return path


def told(store: Store, *, dry: bool = False, abandon: str | None = None) -> str:
    text = io.StringIO()
    (dry_run if dry else gc)(store.url, abandon, Console(file=text, width=150))
    return " ".join(text.getvalue().split())


def beats_in(store: Store) -> list[str]:
    return store.list("sessions")


def test_beats_of_machines_that_never_came_back_go_and_a_dry_run_says_so(store: Store) -> None:
    """Of a run with a record, of one that nobody knows, and of starts that never came to a run;
    those before the last one, too.
    """
    for number, run in enumerate(("done", "nobody-knows", "")):
        beat(store, FAR.replace("1", f"{number}"), 7, run)
    beat(store, FAR.replace("1", "0"), 6, "done")
    before = beats_in(store)
    assert "beats of dead starts 4 " in told(store, dry=True)
    assert beats_in(store) == before
    assert "beats of dead starts 4 " in told(store)
    assert beats_in(store) == []


@pytest.mark.parametrize("run", ["open", "unrecorded"])
def test_what_a_run_has_yet_to_count_stays(store: Store, run: str) -> None:
    kept = beat(store, FAR, "ended", run)
    assert "dead starts" not in told(store)
    assert beats_in(store) == [kept]


def test_what_a_run_that_is_given_up_has_spent_goes(store: Store) -> None:
    beat(store, FAR, 3, "open")
    told(store, abandon="open")
    assert beats_in(store) == []


@pytest.mark.parametrize("number", [0, 7])
def test_while_a_start_may_be_at_work_all_beats_of_its_recipe_stay(
    store: Store, number: int
) -> None:
    kept = [
        beat(store, FAR, "ended", "done"),
        young(store, beat(store, FARTHER, number, "")),
    ]
    beat(store, FAR, 9, "done", recipe="nuclei")
    told(store)
    assert beats_in(store) == kept


def test_whoever_has_ended_or_is_gone_from_this_machine_need_not_be_silent_for_long(
    store: Store,
) -> None:
    for session, number in ((FAR, "ended"), (GONE, 4)):
        young(store, beat(store, session, number, "done"))
    told(store)
    assert beats_in(store) == []


def test_a_start_at_work_beside_gc_keeps_its_beats_and_finishes(store: Store) -> None:
    beat(store, FAR, "ended", "open")
    with turn(store, "cells", print) as mine:
        mine.plan("open")
        told(store)
        assert len(beats_in(store)) == 2
        assert mine.spent().seconds == 2
        mine.finish()
    assert beats_in(store) == []


def test_age_is_told_by_the_clock_of_the_store(s3_bucket: str) -> None:
    store = Store(s3_bucket)
    store.create(f"sessions/cells/{FAR}.7.json", b'{"run": "", "seconds": 0, "gpu_seconds": 0}')
    (path,), now = beats_in(store), max(store.times("sessions").values())
    soon, late = now + SILENT - timedelta(hours=1), now + SILENT + timedelta(hours=1)
    assert list(old_beats(store, lambda run: False, soon)) == []
    assert list(old_beats(store, lambda run: False, late)) == [path]
    told(store)
    assert beats_in(store) == [path]
