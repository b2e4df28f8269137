"""Laws of nights that go wrong: sources half there, starts that meet, recipes that change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobs import augment as augmenting
from tests.jobs.nights import Killed, Nights, copies, without_ray
from tests.jobs.sinks import verified
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


@pytest.mark.parametrize("step", ["_write_plan", "_write_record", "mark_followed", "supersede"])
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
        patch.setattr(f"jobs.follow.{step}", dies)
        following.run()
    following.shard("c", c0=40)
    following.run()
    assert following.current() == copies(**A, c0=40)
    verified(following.store.url)


def test_the_turn_lasts_until_what_is_current_follows_the_night(
    following: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.turns import beats

    seen = []

    def follow(*_: object) -> None:
        seen.extend(beats(following.store, "sessions/cells"))

    monkeypatch.setattr(augmenting, "follow", follow)
    following.shard("a", **A)
    following.run()
    assert [one.number is not None for one in seen] == [True]


def test_killed_changed_and_back(plain: Nights) -> None:
    plain.shard("a", a0=30, a1=31)
    plain.run()
    plain.shard("a", a0=30, a1=45)
    plain.shard("c", c0=30, c1=31)
    plain.killed(1)
    plain.shard("a", a0=33, a1=45)
    plain.run()
    plain.shard("a", a0=30, a1=45)
    plain.run()
    assert set(plain.made.values()) == {1}
    assert set(plain.current().values()) == {1}
