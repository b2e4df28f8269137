"""Laws of the store, on a disk and in memory alike."""

import pickle
import time
from pathlib import Path

import pytest

from pipeline.storage.store import Store, split_url


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "disk":
        return Store(str(tmp_path / "a b#1%20{x}" / "not there yet"))
    return Store(f"memory://{tmp_path.name}")


def test_what_is_created_is_read_back_whole_and_in_ranges(store: Store) -> None:
    assert store.create("shards/ä b.tar", b"0123456789")
    assert store.read("shards/ä b.tar") == b"0123456789"
    assert store.read("shards/ä b.tar", 3, 4) == b"3456"
    assert store.read("shards/ä b.tar", 7) == b"789"
    assert store.read("shards/ä b.tar", 10, 0) == b""
    assert store.size("shards/ä b.tar") == 10


def test_create_never_replaces(store: Store) -> None:
    assert store.create("a", b"first")
    assert not store.create("a", b"second")
    assert store.read("a") == b"first"


def test_a_short_read_is_an_error(store: Store) -> None:
    store.create("a", b"123")
    with pytest.raises(OSError, match="expected 5"):
        store.read("a", 1, 5)
    with pytest.raises(OSError):
        store.read("a", 9, 5)


def test_a_missing_file_is_file_not_found_in_one_line(store: Store) -> None:
    assert not store.exists("nope")
    for ask in (store.size, store.read):
        with pytest.raises(FileNotFoundError) as caught:
            ask("nope")
        assert "\n" not in str(caught.value)


def test_times_are_those_of_the_writing(store: Store) -> None:
    before = time.time()
    store.create("index/a", b"1")
    store.create("b", b"1")
    assert list(store.times("index")) == ["index/a"]
    assert before - 2 <= store.times("index")["index/a"].timestamp() <= time.time() + 2


def test_lists_are_sorted_and_relative(store: Store) -> None:
    assert store.list("") == []
    for name in ("b/2", "b/c/1", "a", "bb"):
        store.create(name, b"")
    assert store.list("") == ["a", "b/2", "b/c/1", "bb"]
    assert store.list("b") == ["b/2", "b/c/1"]
    assert store.list("b/c/") == ["b/c/1"]
    assert store.entries("") == ["a", "b/", "bb"]
    assert store.entries("b") == ["2", "c/"]


def test_delete_removes(store: Store) -> None:
    store.create("a", b"1")
    store.delete("a")
    store.delete("a")
    assert not store.exists("a")
    assert store.create("a", b"2")


def test_a_version_changes_with_the_content(store: Store) -> None:
    store.create("a", b"1")
    before = store.stat("a")
    assert store.stat("a") == before
    store.delete("a")
    store.create("a", b"12")
    assert store.stat("a") != before


def test_a_store_travels_between_processes(store: Store) -> None:
    assert pickle.loads(pickle.dumps(store)) == store


def test_what_a_killed_writer_leaves_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "a.tar#123000001").write_bytes(b"half")
    Store(str(tmp_path)).create("b.tar", b"")
    assert Store(str(tmp_path)).list("") == ["b.tar"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar#123000001", "b.tar"]


def test_a_file_url_and_a_path_are_the_same_place(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    Store(str(folder)).create("x%20y", b"1")
    by_url = Store(folder.as_uri())
    assert by_url.list("") == ["x%20y"]
    assert split_url(by_url.at("x%20y")) == (by_url.url, "x%20y")


def test_relative_paths_are_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Store("out").create("a", b"1")
    assert Store(".").list("") == ["out/a"]
    assert (tmp_path / "out" / "a").read_bytes() == b"1"


def test_urls_are_split_into_folder_and_name() -> None:
    assert split_url("s3://lab/cells/a.tar") == ("s3://lab/cells", "a.tar")
    assert split_url("s3://lab/a.tar") == ("s3://lab", "a.tar")
    assert split_url("a.tar") == (".", "a.tar")
    assert split_url("/a.tar") == ("/", "a.tar")
    assert split_url("x/y/a.tar") == ("x/y", "a.tar")
    for bad in ("s3://lab", "x/", ""):
        with pytest.raises(ValueError, match="file"):
            split_url(bad)


def test_an_unknown_scheme_is_refused_with_the_legal_ones() -> None:
    with pytest.raises(ValueError, match="s3, gs, az"):
        Store("ftp://lab/x")
