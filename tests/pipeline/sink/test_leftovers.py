"""Laws of what gc may remove, and of its claim."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from jobs.gc import dry_run, gc
from pipeline.index.files import pending_path, published_path, read_index
from pipeline.sink.claim import claimed, wait_for_gc
from pipeline.sink.commit import commit_chunk
from pipeline.sink.publication import ATTEMPTS, committed, publish
from pipeline.sink.slots import Slot, add_slot, read_slots, slot_path
from pipeline.storage.store import Store
from schemas.errors import RunError, SinkError
from tests.pipeline.rows import woven

ORPHAN = "shards/c9.00000000.tar"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Run `done` is published, run `open` has committed one chunk of two, and there is a tar that
    nobody knows.
    """
    store = Store(str(tmp_path / "out"))
    plan(store, "done", "c0")
    commit(store, "done", "c0")
    publish(store, "done", ["c0"])
    plan(store, "open", "c1", "c2")
    commit(store, "open", "c1")
    store.create(ORPHAN, b"")
    return store


def plan(store: Store, run: str, *chunks: str) -> None:
    record = {"chunks": [{"id": chunk} for chunk in chunks]}
    store.create(f"runs/{run}.plan.json", json.dumps(record).encode())


def commit(store: Store, run: str, chunk: str) -> None:
    commit_chunk(store, run, chunk, woven(chunk, run), 5)


def files(store: Store) -> set[str]:
    return set(store.list(""))


def told(store: Store, abandon: str | None = None, *, dry: bool = False) -> str:
    text = io.StringIO()
    (dry_run if dry else gc)(store.url, abandon, Console(file=text, width=150))
    return " ".join(text.getvalue().split())


def test_what_nobody_knows_goes_and_what_is_named_stays(store: Store) -> None:
    before = files(store)
    text = told(store)
    assert before - files(store) == {ORPHAN}
    assert "tars that no row names 1 0" in text
    assert "open 1 2" in text


def test_a_dry_run_tells_the_same_and_changes_nothing(store: Store) -> None:
    before = files(store)
    text = told(store, dry=True)
    assert files(store) == before
    assert text.replace("would be removed", "removed") == told(store)


def test_a_tar_of_a_chunk_that_a_run_may_yet_commit_stays(store: Store) -> None:
    for name in ("shards/c2.11111111.tar", "quarantine/c2.22222222.tar"):
        store.create(name, b"")
    before = files(store)
    assert "2 tars that no row names stay" in told(store)
    assert before - files(store) == {ORPHAN}
    commit(store, "open", "c2")
    told(store)
    assert not store.exists("shards/c2.11111111.tar")
    assert not store.exists("quarantine/c2.22222222.tar")


def test_a_run_whose_plan_cannot_be_read_may_need_everything(store: Store) -> None:
    store.create("runs/broken.plan.json", b"{")
    before = files(store)
    assert "its plan cannot be read" in told(store)
    assert files(store) == before


def test_an_index_that_cannot_be_read_ends_gc_before_it_deletes(store: Store) -> None:
    store.create(published_path("odd"), b"PAR1")
    with pytest.raises(SinkError, match="not an index file"):
        told(store)
    assert store.exists(ORPHAN)


def test_what_a_zombie_left_of_an_ended_run_goes(store: Store) -> None:
    commit(store, "done", "c0")  # after its end: a pending file again
    store.create(f"{ATTEMPTS}/done/c0/0.json", b"{}")
    store.create(f"{ATTEMPTS}/open/c2/0.json", b"{}")
    told(store)
    left = files(store)
    assert pending_path("done", "c0") not in left
    assert f"{ATTEMPTS}/done/c0/0.json" not in left
    assert f"{ATTEMPTS}/open/c2/0.json" in left
    assert len(read_index(store)) == 5


def test_temporary_files_go_with_their_process(store: Store) -> None:
    folder = store.local
    assert folder is not None
    with subprocess.Popen([sys.executable, "-c", "pass"]) as gone:
        gone.wait()
    dead = folder / f"shards/c2.0.tar#{gone.pid}000001"
    alive = folder / f"shards/c2.0.tar#{os.getpid()}000001"
    dead.touch()
    alive.touch()
    told(store)
    assert (dead.exists(), alive.exists()) == (False, True)


def test_an_abandoned_run_is_gone_and_may_begin_anew(store: Store) -> None:
    assert "plans of runs given up 1" in told(store, "open", dry=True)
    text = told(store, "open")
    assert "open: given up; started again, it begins anew" in text
    assert not [path for path in files(store) if "open" in path or "c1" in path]
    assert committed(store, "open") == {"c0"}
    with pytest.raises(RunError, match="2 of 2 chunks are not committed"):
        publish(store, "open", ["c1", "c2"])
    plan(store, "open", "c1", "c2")
    for chunk in ("c1", "c2"):
        commit(store, "open", chunk)
    publish(store, "open", ["c1", "c2"])
    assert len(read_index(store)) == 15


def test_a_run_that_is_being_given_up_cannot_publish(store: Store) -> None:
    """A gc that was killed in the middle; the next one ends it."""
    commit(store, "open", "c2")
    add_slot(store, read_slots(store), Slot(run="open", event="given_up"))
    with pytest.raises(RunError, match="is giving it up"):
        publish(store, "open", ["c1", "c2"])
    told(store)
    assert [slot.event for slot in read_slots(store)] == ["published", "given_up", "cleared"]
    assert not store.exists(pending_path("open", "c1"))


def test_only_a_run_under_way_can_be_given_up(store: Store) -> None:
    with pytest.raises(SinkError, match="done: it is published"):
        told(store, "done")
    with pytest.raises(SinkError, match="no run x is under way; there are: open"):
        told(store, "x", dry=True)


def test_a_missing_slot_is_named(store: Store) -> None:
    commit(store, "open", "c2")
    publish(store, "open", ["c1", "c2"])
    store.delete(slot_path(1))
    with pytest.raises(SinkError, match=r"000001\.json: is missing"):
        committed(store, "open")


CLAIM = """
import sys
from pipeline.sink.claim import claimed
from pipeline.storage.store import Store
with claimed(Store(sys.argv[1])):
    print("claimed", flush=True)
    sys.stdin.read()
"""


def test_nothing_starts_beside_a_gc_unless_it_is_dead(store: Store) -> None:
    command = [sys.executable, "-c", CLAIM, store.url]
    root = str(Path(__file__).parents[3])
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "claimed\n"
        with pytest.raises(SinkError, match=f"at work .process {other.pid} on"):
            wait_for_gc(store, patience_s=0.0)
        with pytest.raises(SinkError, match="start again when it has ended"), claimed(store):
            raise AssertionError("two at once")
        assert len(store.list("gc")) == 1
        other.kill()
    wait_for_gc(store, patience_s=0.0)
    assert told(store)
