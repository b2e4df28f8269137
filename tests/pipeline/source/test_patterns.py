"""Laws of shard patterns."""

from pathlib import Path

import pytest

from pipeline.source.patterns import expand
from pipeline.storage.store import Store


def test_braces_count_with_their_width() -> None:
    assert expand("s3://lab/a-{008..011}.tar") == [f"s3://lab/a-{n:03d}.tar" for n in range(8, 12)]
    assert expand("a-{8..11}.tar") == ["a-8.tar", "a-9.tar", "a-10.tar", "a-11.tar"]
    assert expand("{0..1}/{00..01}") == ["0/00", "0/01", "1/00", "1/01"]
    assert expand("a.tar") == ["a.tar"]


@pytest.mark.parametrize("pattern", ["{3..1}", "{0..99999999}", "{0..9999}{0..9999}"])
def test_impossible_counts_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="shards"):
        expand(pattern)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("x/train-1.tar", "x/train-0.tar", "x/.hidden.tar", "y/train-0.tar", "val.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_stars_match_within_one_part_of_the_path(tree: Path) -> None:
    assert expand(f"{tree}/x/train-*.tar") == [f"{tree}/x/train-{n}.tar" for n in (0, 1)]
    assert expand(f"{tree}/*/train-0.tar") == [f"{tree}/{d}/train-0.tar" for d in "xy"]
    assert expand(f"{tree}/*.tar") == [f"{tree}/val.tar"]
    assert expand(f"{tree}/*/.*.tar") == [f"{tree}/x/.hidden.tar"]
    assert expand(f"{tree}/nothing/*.tar") == []


def test_a_relative_pattern_stays_relative(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert expand("*/train-*.tar") == ["x/train-0.tar", "x/train-1.tar", "y/train-0.tar"]
    assert expand("*.tar") == ["val.tar"]


def test_stars_and_counts_go_together(tree: Path) -> None:
    assert expand(f"{tree}/x/*-{{0..1}}.tar") == [f"{tree}/x/train-{n}.tar" for n in (0, 1)]


def test_stars_match_in_an_object_store(tmp_path: Path) -> None:
    store = Store(f"memory://{tmp_path.name}")
    store.create("b.tar", b"")
    store.create("a.tar", b"")
    assert expand(f"{store.url}/*.tar") == [f"{store.url}/a.tar", f"{store.url}/b.tar"]
