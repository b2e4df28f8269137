"""Laws of nights that go wrong: sources half there, starts that meet, recipes that change."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from jobs.gc import gc
from jobs.retry import retries
from jobs.run import augment as augmenting
from jobs.run.augment import _alike
from jobs.run.plan import Retry, RunPlan
from jobs.verify.sink import verify
from pipeline.index.files import read_index
from pipeline.sink.publication import current_runs
from pipeline.sink.turns import beats
from pipeline.storage.store import Store
from tests.jobs.nights import Killed, Nights, copies, without_ray
from tests.jobs.sinks import planned_run, verified, weave
from tests.pipeline.shards import sample_files, tar_of

A = {"a0": 30, "a1": 31, "a2": 32, "a3": 33}
B = {"b0": 30, "b1": 31, "b2": 32}

FOLLOWING = "follow_deletions: true\n"


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nights:
    return without_ray(tmp_path, monkeypatch)


@pytest.fixture
def following(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nights:
    return without_ray(tmp_path, monkeypatch, FOLLOWING)


def test_a_changed_recipe_brings_nothing_back_that_had_left(following: Nights) -> None:
    """Runs from before the recipe was changed are not touched, in either direction."""
    following.shard("a", **A)
    following.shard("b", **B)
    following.run()
    following.gone("b")
    following.run()
    assert following.current() == copies(**A)
    text = following.recipe.read_text()
    following.recipe.write_text(text.replace("p: 0.5", "p: 0.6"))
    following.run()
    assert following.current() == copies(**A) + copies(**A)  # of both recipes


def test_samples_that_come_back_under_another_shard_are_not_made_again(following: Nights) -> None:
    following.shard("a", **A)
    following.shard("b", **B)
    following.run()
    following.gone("b")
    following.run()
    following.shard("c", **B, c0=40)
    following.run()
    assert set(following.made.values()) == {1}
    assert following.current() == copies(**A, **B, c0=40)
    verified(following.store.url)


def test_a_sample_that_was_mended_in_its_shard_is_made(plain: Nights) -> None:
    """What is read of a sample with a member twice is what is read of it without."""
    plain.recipe.write_text(plain.recipe.read_text() + "budget: {failed: 1}\n")
    whole = [file for key in ("a0", "a1") for file in sample_files(key)]
    (plain.folder / "a.tar").write_bytes(tar_of([*whole, sample_files("a1", width=40)[0]]))
    plain.run()
    assert plain.current()[("a1", None, 0)] == 1, "it has failed"
    (plain.folder / "a.tar").write_bytes(tar_of(whole))
    plain.run()
    assert plain.current()[("a1", 32, 0)] == 1
    assert plain.current()[("a0", 32, 0)] == 1
    assert list(retries(plain.store, None, Console(file=io.StringIO()))) == []


def test_what_cannot_be_read_of_a_damaged_shard_is_not_gone(following: Nights) -> None:
    """A shard that is being written, or broken on the way."""
    following.recipe.write_text(following.recipe.read_text() + "budget: {failed: 1}\n")
    following.shard("a", **A)
    following.run()
    whole = (following.folder / "a.tar").read_bytes()
    (following.folder / "a.tar").write_bytes(whole[: len(whole) // 2])
    following.shard("b", **B)
    assert "a.tar is damaged: copies of its samples stay" in following.run()
    assert not copies(**A, **B) - following.current()
    (following.folder / "a.tar").write_bytes(whole)
    following.run()
    assert following.current() == copies(**A, **B)
    assert set(following.made.values()) == {1}


def test_what_another_start_publishes_before_the_turn_is_not_made_again(
    plain: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start plans for long; what was published by then it must know."""
    plain.shard("a", **A)
    plain.run()
    turn = augmenting.turn

    @contextmanager
    def late(*arguments: object) -> Iterator[object]:
        monkeypatch.setattr(augmenting, "turn", turn)
        plain.shard("a", **A | {"a1": 45})
        plain.run()
        plain.shard("a", **A | {"a0": 44, "a1": 45})
        with turn(*arguments) as mine:  # type: ignore[arg-type]
            yield mine

    plain.shard("a", **A | {"a0": 44, "a1": 45})
    monkeypatch.setattr(augmenting, "turn", late)
    plain.run()
    assert set(plain.made.values()) == {1}
    assert plain.current() == copies(**A | {"a0": 44, "a1": 45}) + copies(a0=30, a1=31)


@pytest.mark.parametrize("step", ["write_sheet", "write_record", "describe"])
def test_a_night_killed_while_it_publishes_leaves_nothing_undone_when_the_source_changes(
    plain: Nights, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    plain.shard("a", **A)

    def dies(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(augmenting, step, dies)
        plain.run()
    plain.shard("b", **B)
    plain.run()
    assert plain.current() == copies(**A, **B)
    verified(plain.store.url)


@pytest.mark.parametrize(
    "step", ["_write_plan", "write_follows_record", "mark_followed", "supersede"]
)
def test_a_start_killed_while_it_follows_leaves_nothing_undone_when_the_source_changes(
    following: Nights, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    following.shard("a", **A)
    following.shard("b", **B)
    following.run()
    following.gone("b")

    def dies(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(f"jobs.run.follow.{step}", dies)
        following.run()
    following.shard("c", c0=40)
    following.run()
    assert following.current() == copies(**A, c0=40)
    verified(following.store.url)


def test_the_turn_lasts_until_what_is_current_follows_the_night(
    following: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def follow(*_: object) -> None:
        seen.extend(beats(following.store, "sessions/cells"))

    monkeypatch.setattr(augmenting, "follow", follow)
    following.shard("a", **A)
    following.run()
    assert [one.number is not None for one in seen] == [True]


def test_a_sample_whose_neighbours_changed_is_not_said_to_come_out_otherwise(plain: Nights) -> None:
    """An op that looks at them would see others: that is told as what it is."""
    text = plain.recipe.read_text().partition("ops:")[0]
    plain.recipe.write_text(text + "ops:\n- {kind: copy_paste, harmonise: 0}\n")
    plain.shard("a", a0=60, a1=61)
    plain.run()
    plain.shard("a", a0=60, a1=75)
    plain.run()
    assert set(plain.made.values()) == {1}
    said = io.StringIO()
    verify(plain.store.url, 100, Console(file=said, width=500))
    assert "replay_impossible 4" in said.getvalue(), said.getvalue()
    assert "a.tar: has changed, and an op looks at other samples of it" in said.getvalue()


def test_nights_that_took_over_or_left_out_copies_are_made_again_byte_for_byte(
    following: Nights,
) -> None:
    following.shard("a", **A)
    following.shard("b", **B)
    following.run()
    following.shard("a", **A | {"a1": 45})
    following.shard("c", c0=30, c1=31, c2=32)
    following.killed(2)
    following.shard("d", d0=30)
    assert "taken over" in following.run()
    assert "22 made again" in verified(following.store.url, replay=100)


@pytest.mark.parametrize(("known", "long"), [(True, False), (False, True)])
def test_a_run_takes_over_what_it_would_have_made_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool, long: bool
) -> None:
    """What a gate knows, and whether networks are compiled, is not in the id of a chunk."""
    planned = planned_run(tmp_path)
    weave(planned)
    later = replace(planned, retry=Retry(planned.run, 1))
    assert _alike(later, planned.run)
    if long:
        monkeypatch.setattr("pipeline.models.LONG_RUN", 14)
        half = replace(later, chunks=later.chunks[:1], cards={})
        assert _alike(half, planned.run), "without a model nothing is compiled"
        monkeypatch.setattr(RunPlan, "models", {"one": "0"})
        assert _alike(later, planned.run) and not _alike(half, planned.run)
    if known:
        assert not _alike(replace(later, known=("fingerprints/0.parquet",)), planned.run)


def test_a_run_that_was_taken_over_stays_in_nobodys_way(plain: Nights) -> None:
    """Also where of one of its chunks nothing was left to make."""
    plain.shard("a", a0=30, a1=31)
    plain.run()
    plain.shard("a", a0=30, a1=31, a2=32, a3=33)
    plain.shard("b", b0=30)
    plain.killed(1)
    plain.shard("c", c0=30)
    plain.run()
    said = io.StringIO()
    gc(plain.store.url, None, Console(file=said, width=200))
    assert "not finished" not in said.getvalue(), said.getvalue()


def test_a_source_with_other_etags_and_the_same_bytes_is_nothing_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a copy of a bucket."""
    source = without_ray(tmp_path, monkeypatch, FOLLOWING)
    text = source.recipe.read_text().replace(f"'{tmp_path}/*.tar'", "'memory://etags/*.tar'")
    source.recipe.write_text(text)
    store = Store("memory://etags")

    def write() -> None:
        for name, keys in (("a", A), ("b", B)):
            files = [f for key, width in keys.items() for f in sample_files(key, width=width)]
            store.delete(f"{name}.tar")
            store.create(f"{name}.tar", tar_of(files))

    write()
    source.run()
    before = store.stat("a.tar")
    write()
    assert store.stat("a.tar") != before
    source.run()
    assert source.sessions == 1 and source.current() == copies(**A, **B)
    assert "the source has not changed" in source.run()


def test_a_label_alone_makes_another_sample(following: Nights) -> None:
    following.shard("a", **A)
    following.run()
    files = [f for key, width in A.items() for f in sample_files(key, width=width)]
    files[1] = ("a0.json", files[1][1].replace(b"[4, 5, 12, 13]", b"[4, 5, 12, 14]"))
    (following.folder / "a.tar").write_bytes(tar_of(files))
    following.run()
    assert following.current() == copies(**A)
    rows = read_index(following.store, current_runs(following.store)).to_pylist()
    ends = {row["boxes"][0][3] for row in rows if row["source_key"] == "a0"}
    assert ends == {14.0}, "the copies with the old label are gone"
    assert sum(following.made.values()) == copies(**A).total() + 2
