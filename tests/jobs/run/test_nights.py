"""Laws of nights: one recipe again and again, over a source that grows, changes and shrinks."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console

from jobs.history import COLUMNS, history, nights
from jobs.run.augment import dry_run
from jobs.run.plan import make_plan
from pipeline.index.files import pending_runs, published_runs, read_index
from pipeline.sink import turns
from pipeline.sink.publication import current_runs
from pipeline.sink.turns import turn
from pipeline.storage.store import Store
from schemas.errors import SinkError
from tests.jobs.nights import Nights, copies, without_ray
from tests.jobs.sinks import finish, in_sink, planned_run, verified, weave
from tests.jobs.workplace import CLASSIC, ROOT, kill, workplace
from tests.pipeline.shards import sample_files, tar_of

A = {"a0": 30, "a1": 31, "a2": 32, "a3": 33}
B = {"b0": 30, "b1": 31, "b2": 32}
C = {"c0": 30, "c1": 31, "c2": 32}
D = {"d0": 30, "d1": 31}


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nights:
    return without_ray(tmp_path, monkeypatch)


@pytest.fixture
def following(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nights:
    return without_ray(tmp_path, monkeypatch, "follow_deletions: true\n")


def three_nights(source: Nights) -> None:
    """New shards, one changed in one sample, one deleted, one night killed half-way, and the source
    changed once more before it is started again.
    """
    source.shard("a", **A)
    source.shard("b", **B)
    source.run()
    source.shard("a", **A | {"a1": 45})
    source.shard("c", **C)
    source.gone("b")
    source.killed(2)  # of three: one of shard a, two of shard c
    source.shard("d", **D)
    said = source.run()
    assert "2 chunks are taken over from cells-" in said


@pytest.mark.parametrize("follows", [False, True])
def test_each_sample_is_augmented_once_over_three_nights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, follows: bool
) -> None:
    source = without_ray(tmp_path, monkeypatch, "follow_deletions: true\n" if follows else "")
    three_nights(source)
    assert set(source.made.values()) == {1}
    now = A | {"a1": 45} | C | D
    gone = copies(**B, a1=31)
    assert source.current() == copies(**now) + (gone if not follows else copies())
    assert sum(source.made.values()) == copies(**A, **B, **C, **D).total() + 2
    assert pending_runs(source.store) == []
    verified(str(tmp_path / "out"))


def test_a_run_that_lost_copies_can_still_be_read_by_name(following: Nights) -> None:
    three_nights(following)
    first = min(published_runs(following.store), key=len)
    origin = {run.partition("-of-")[0] for run in published_runs(following.store) if "-of-" in run}
    (name,) = origin
    assert len(read_index(following.store, [name])) == copies(**A, **B).total()
    assert name not in current_runs(following.store) and first in published_runs(following.store)


def test_samples_that_come_back_are_published_again_and_not_made_again(following: Nights) -> None:
    three_nights(following)
    made = sum(following.made.values())
    following.shard("b", **B)
    said = following.run()
    assert following.current() == copies(**A | {"a1": 45}, **B, **C, **D)
    assert sum(following.made.values()) == made, said
    following.shard("a", **A)  # as it was on the first night
    following.run()
    assert following.current() == copies(**A, **B, **C, **D)
    assert sum(following.made.values()) == made
    verified(following.store.url)


def test_following_is_taken_up_when_the_recipe_begins_to_say_so(plain: Nights) -> None:
    three_nights(plain)
    plain.recipe.write_text(plain.recipe.read_text() + "follow_deletions: true\n")
    sessions = plain.sessions
    assert "copies of samples that are gone are left out" in plain.run()
    assert plain.current() == copies(**A | {"a1": 45}, **C, **D)
    assert "nothing to do" in plain.run() and plain.sessions == sessions


def test_a_night_with_nothing_new_starts_no_ray_and_plans_nothing(
    following: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_nights(following)
    sessions = following.sessions

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the source was scanned")

    with monkeypatch.context() as patch:
        patch.setattr("jobs.run.plan.plan", never)
        assert "nothing to do, the source has not changed" in following.run()
    assert following.sessions == sessions


def test_shards_under_other_names_or_cut_otherwise_are_nothing_new(plain: Nights) -> None:
    plain.shard("a", **A)
    plain.shard("b", **B)
    plain.run()
    shutil.move(plain.folder / "a.tar", plain.folder / "z.tar")
    assert "nothing to do" in plain.run()
    for name in ("b", "z"):
        plain.gone(name)
    plain.shard("x", **{key: width for key, width in (A | B).items() if key != "a0"})
    plain.shard("y", a0=30)
    assert "nothing to do" in plain.run()
    assert plain.sessions == 1 and plain.current() == copies(**A, **B)


def test_bytes_of_a_changed_shard_are_compared_once(
    plain: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain.shard("a", **A)
    plain.run()
    plain.shard("a", **A | {"a1": 45})
    plain.run()
    plain.shard("b", **B)  # a night with something new, so that it is planned

    def never(*_: object, **__: object) -> None:
        raise AssertionError("read again")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.sink.made.read_chunk", never)
        planned = make_plan(plain.recipe)
    assert [chunk.shard.url for chunk in planned.due] == [f"{plain.folder}/a.tar"] + [
        f"{plain.folder}/b.tar"
    ] * 2


def test_a_dry_run_counts_what_is_left_and_writes_nothing(plain: Nights) -> None:
    plain.shard("a", **A)
    plain.run()
    plain.shard("a", **A | {"a1": 45})
    before = plain.store.list("")
    said = io.StringIO()
    dry_run(plain.recipe, Console(file=said, width=200))
    assert "2 each, 2 in all" in said.getvalue()
    assert plain.store.list("") == before


def test_a_shard_with_the_same_keys_and_other_bytes_is_new(plain: Nights) -> None:
    plain.shard("a", **A)
    plain.run()
    plain.shard("b", **{key: width + 10 for key, width in A.items()})
    plain.run()
    assert plain.current() == copies(**A) + copies(**{k: w + 10 for k, w in A.items()})
    assert set(plain.made.values()) == {1}


def test_more_copies_by_rarity_are_added_to_those_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another night, another share of a class: the plan asks for other numbers of copies."""
    source = without_ray(tmp_path, monkeypatch, "budget: {rare: 1.0, most: 3}\n")
    source.shard("a", **A)
    source.run()
    empty = [
        (f"e{n}.json", b'{"width": 32, "height": 24, "boxes": [], "labels": []}') for n in "01"
    ]
    images = [file for n in "01" for file in sample_files(f"e{n}") if file[0].endswith("png")]
    (tmp_path / "b.tar").write_bytes(tar_of([*images, *empty]))
    source.run()
    assert set(source.made.values()) == {1} and set(source.current().values()) == {1}
    assert max(copy for _, _, copy in source.current()) > 1
    verified(source.store.url)


def test_history_tells_the_nights_without_reading_an_index(
    following: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_nights(following)
    following.shard("e", e0=30, e1=31, e2=40)
    following.killed(1)
    said = io.StringIO()
    monkeypatch.setattr("pipeline.index.files.read_table", None)
    history(following.store.url, Console(file=said, width=40))
    lines = [line.split("\t") for line in said.getvalue().splitlines()]
    assert lines[0] == list(COLUMNS)
    rows = [dict(zip(COLUMNS, line, strict=True)) for line in lines[1:]]
    told = [(r["kind"], r["state"].partition(" cells")[0], r["new samples"]) for r in rows]
    assert sorted(told) == [
        ("follows", "finished", "-"),
        ("night", "finished", "6"),
        ("night", "finished", "7"),
        ("night", "taken over by", "-"),
        ("night", "unfinished, 1 of 2 chunks committed", "-"),
    ]
    gpu_seconds = {row["new samples"]: row["GPU s"] for row in rows}
    assert gpu_seconds["6"] == "12"  # with two chunks of the night that was killed
    first = next(row for row in rows if row["new samples"] == "7")
    assert (first["copies"], first["kept"], first["GPU s"]) == ("14", "100.0%", "12")


def test_a_night_counts_what_its_killed_starts_have_spent(plain: Nights) -> None:
    plain.shard("a", **A)
    plain.shard("b", **B)
    plain.killed(3)
    plain.run()
    (night,) = nights(plain.store)
    assert night.gpu_seconds == "12"  # four chunks of 1.5 s, on two GPUs


def test_two_starts_of_a_recipe_take_turns(plain: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits for the first, and finds nothing left to do."""
    monkeypatch.setattr(turns, "POLL_S", 0.02)
    plain.shard("a", **A)
    waits = threading.Event()
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        waits.set()

    def second() -> None:
        with turn(plain.store, "cells", say):
            said.append(f"{len(published_runs(plain.store))} published")

    def flow(*arguments: object) -> object:
        thread.start()
        assert waits.wait(60)
        return plain.flow(*arguments)  # type: ignore[arg-type]

    thread = threading.Thread(target=second)
    monkeypatch.setattr("pipeline.flow.graph.run_flow", flow)
    plain.run()
    thread.join(60)
    assert f"process {os.getpid()} on" in said[0] and said[1:] == ["1 published"]


def test_a_start_that_is_gone_or_silent_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "POLL_S", 0.01)
    monkeypatch.setattr(turns, "PATIENCE_S", 0.1)
    store = Store(str(tmp_path))
    said: list[str] = []
    for session in ("elsewhere.1.aa", f"{turns.this_host()}.999999999.bb"):
        store.create(
            f"sessions/cells/{session}.7.json",
            b'{"run": "cells-1", "seconds": 2.5, "gpu_seconds": 5}',
        )
    with turn(store, "cells", said.append) as mine:
        mine.plan("cells-1")
        mine.spend(turns.Spent(1.0, 0.5))
        assert mine.spent() == turns.Spent(6.0, 10.5)
    assert len(said) == 1 and "process 1 on elsewhere" in said[0]
    with turn(store, "cells", said.append) as mine:
        mine.plan("cells-1")
        assert not mine.waited, "what was silent has been taken for ended"
        assert mine.spent() == turns.Spent(6.0, 10.5)
        mine.finish()
    assert list(store.list("sessions")) == []


def test_history_of_a_sink_in_an_object_store(tmp_path: Path, s3_bucket: str) -> None:
    planned = in_sink(planned_run(tmp_path), f"{s3_bucket}/out")
    weave(planned)
    assert [night.state for night in nights(planned.store)] == [
        "unfinished, 3 of 3 chunks committed"
    ]
    finish(planned)
    said = io.StringIO()
    history(f"{s3_bucket}/out", Console(file=said))
    assert f"\t{planned.run}\tnight\tfinished\t7\t14\t" in said.getvalue()
    with pytest.raises(SinkError, match="no run has begun here"):
        history(f"{s3_bucket}/nothing", Console(file=said))


def test_a_real_night_is_killed_and_the_next_one_goes_on_over_another_source(
    tmp_path: Path,
) -> None:
    """With Ray and a real SIGKILL; then, with nothing new, not even Ray's package is imported."""
    source = tmp_path / "source"
    source.mkdir()
    keys = [f"s{n:02d}" for n in range(18)]  # six chunks
    files = [file for n, key in enumerate(keys) for file in sample_files(key, width=32 + n)]
    (source / "train-0.tar").write_bytes(tar_of(files))
    place = workplace(tmp_path / "place", source, ops=CLASSIC)
    process = place.start()
    place.wait_for_commits(process, 2)
    kill(process)
    (source / "train-1.tar").write_bytes(tar_of(sample_files("c0", width=60)))
    done = place.run()
    assert done.returncode == 0, done.stderr
    assert "chunks are taken over from cells-" in done.stderr
    store = Store(str(place.sink))
    rows = read_index(store, current_runs(store))
    assert sorted(rows["source_key"].to_pylist()) == sorted(2 * [*keys, "c0"])
    verified(str(place.sink))
    again = (
        "import sys; from jobs.cli.main import main\n"
        "try: main()\nfinally: print('ray' in sys.modules, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", again, "run", "cells.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.run(
        command, cwd=place.folder, env=environment, capture_output=True, text=True, check=True
    )
    assert "nothing to do, the source has not changed" in said.stderr
    assert said.stdout.split() == ["False", "False"]
