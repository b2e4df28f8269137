"""Runs in which something dies, is stopped or fills up, for real: what follows is the result of an
undisturbed run. The same faults at many points are in tests/chaos.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.chain.attempts import TRIES
from pipeline.index.files import read_index
from pipeline.storage.store import Store
from tests.chaos.cluster import session_of
from tests.chaos.orders import VARIABLE, Order, Orders
from tests.jobs.workplace import CLASSIC, COPIES, ROOT, Workplace, workplace, write_source

INSIDE = ROOT / "tests" / "chaos" / "inside"
LIMIT_S = 30
Place = Callable[..., tuple[Workplace, Orders]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Workplace:
    place = workplace(tmp_path_factory.mktemp("undisturbed"), source, CLASSIC)
    done = place.run()
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def place(source: Path, tmp_path: Path) -> Place:
    """A workplace, and the orders that its processes carry out."""

    def make(**recipe: str) -> tuple[Workplace, Orders]:
        orders = Orders(tmp_path / "orders")
        environment = {
            "PYTHONPATH": f"{INSIDE}{os.pathsep}{ROOT}",
            VARIABLE: str(orders.folder),
        }
        made = workplace(tmp_path / "place", source, CLASSIC, environment=environment, **recipe)
        return made, orders

    return make


def rows_without(place: Workplace, key: str) -> list[dict[str, Any]]:
    """The index, but for one source sample and for what it moves in the tar of its chunk."""
    rows = read_index(Store(str(place.sink))).to_pylist()
    return [row | {"shard": None, "members": None} for row in rows if row["source_key"] != key]


def bytes_of(place: Workplace) -> dict[str, bytes]:
    """Every member of every tar of the result, where the index says that it lies."""
    found = {}
    for row in read_index(Store(str(place.sink))).to_pylist():
        for member in row["members"]:
            tar = (place.sink / row["shard"]).read_bytes()
            found[member["name"]] = tar[member["offset"] : member["offset"] + member["size"]]
    return found


def test_a_sample_that_kills_its_worker_is_quarantined_and_the_rest_is_as_ever(
    undisturbed: Workplace, place: Place
) -> None:
    disturbed, orders = place(more="budget: {failed: 0.5}")
    orders.give(Order("killer", "decode", "^s007$", "kill", times=1000))
    done = disturbed.run()
    assert done.returncode == 0, done.stderr
    assert len(orders.fired()) == 1 + TRIES
    killed = [row for row in read_index(Store(str(disturbed.sink))).to_pylist() if row["reason"]]
    assert [(row["source_key"], row["reason"]) for row in killed] == [
        ("s007", "killed_worker")
    ] * COPIES
    assert all((disturbed.sink / row["quarantine"]).exists() for row in killed)
    assert rows_without(disturbed, "s007") == rows_without(undisturbed, "s007")
    others = {n: data for n, data in bytes_of(undisturbed).items() if not n.startswith("s007")}
    assert bytes_of(disturbed) == others


def test_a_run_outlives_its_actor_and_its_writer(undisturbed: Workplace, place: Place) -> None:
    disturbed, orders = place()
    orders.give(Order("actor", "weave", "", "kill", nth=3))
    orders.give(Order("writer", "create", "/shards/", "kill", when="after", nth=6))
    done = disturbed.run()
    assert done.returncode == 0, done.stderr
    assert len(orders.fired()) == 2
    assert disturbed.left() == undisturbed.left()


def test_sigterm_ends_a_run_in_order_and_it_can_be_resumed(
    undisturbed: Workplace, place: Place
) -> None:
    stopped, orders = place(tracking="'sqlite:///m.db'")
    orders.give(Order("slow", "weave", "", "sleep", nth=3, times=100, seconds=1))
    process = stopped.start()
    stopped.wait_for_commits(process, 1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=LIMIT_S) == 128 + signal.SIGTERM, stopped.said()
    assert stopped.said().splitlines()[-1].startswith("stopped; what is committed stays")
    assert "Traceback" not in stopped.said()
    assert session_of(process.pid) == []
    assert list(stopped.sink.glob("index/*.parquet")) == []
    with sqlite3.connect(stopped.folder / "m.db") as database:
        assert database.execute("select status from runs").fetchall() == [("KILLED",)]
    database.close()

    orders.withdraw()
    again = stopped.run()
    assert again.returncode == 0, again.stderr
    assert stopped.left() == undisturbed.left()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Mounts the sink of `place` as a disk of so many bytes, or gives it so many."""
    folder = tmp_path / "place" / "out"
    folder.mkdir(parents=True)

    def mount(size: str) -> None:
        options = f"remount,size={size}" if folder.is_mount() else f"size={size}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"mounting a tmpfs is not permitted: {done.stderr.strip()}")

    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def test_a_full_disk_ends_a_run_in_one_message_and_it_can_be_resumed(
    undisturbed: Workplace, place: Place, tiny_disk: Callable[[str], None]
) -> None:
    tiny_disk("600k")
    full, _ = place()
    done = full.run()
    assert done.returncode == 6, done.stderr
    assert "No space left on device; make room" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert full.pending() > 0
    assert list(full.sink.glob("index/*.parquet")) == []

    tiny_disk("64m")
    again = full.run()
    assert again.returncode == 0, again.stderr
    assert full.left() == undisturbed.left()
