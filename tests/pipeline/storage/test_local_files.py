"""Laws of files on a disk that is full, read-only or failing."""

import errno
import os
from pathlib import Path

import pytest

from pipeline.storage.store import Store
from tests.mounts import read_only, small_disk


def test_a_full_disk_is_named_and_nothing_is_left_of_the_file(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        store = Store(str(disk))
        assert store.create("a/small", b"1" * 1000)
        with pytest.raises(OSError) as caught:
            store.create("a/large", b"2" * 1_000_000)
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == str(disk / "a" / "large")
        assert [path.name for path in (disk / "a").iterdir()] == ["small"]
        assert store.create("a/next", b"3" * 100_000), "the room is free again"


def test_a_read_only_place_is_read_but_not_written(tmp_path: Path) -> None:
    Store(str(tmp_path)).create("a", b"1")
    with read_only(tmp_path) as folder:
        store = Store(str(folder))
        assert store.read("a") == b"1"
        for act in (
            lambda: store.create("b", b""),
            lambda: store.create("new/b", b""),
            lambda: store.delete("a"),
        ):
            with pytest.raises(OSError) as caught:
                act()
            assert caught.value.errno == errno.EROFS
            assert str(folder) in caught.value.filename


def test_what_the_disk_says_at_the_sync_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError) as caught:
        Store(str(tmp_path)).create("a", b"1")
    assert caught.value.errno == errno.EIO
    assert list(tmp_path.iterdir()) == []


def test_a_path_out_of_the_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"1")
    store = Store(str(tmp_path / "sink"))
    for path in ("../secret", str(tmp_path / "secret"), "a/../../secret"):
        for act in (store.read, store.delete, lambda path: store.create(path, b"")):
            with pytest.raises(OSError) as caught:
                act(path)
            assert caught.value.errno == errno.EINVAL
    assert (tmp_path / "secret").exists()


def test_a_folder_where_a_file_is_wanted_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        Store(str(tmp_path)).read("a")
    assert not Store(str(tmp_path)).create("a", b"1")
    (tmp_path / "b").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        Store(str(tmp_path)).create("b/c", b"1")


def test_a_version_that_is_given_must_be_the_one_that_is_read(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.create("a", b"12")
    version = store.stat("a").version
    assert store.read("a", 1, 1, version) == b"2"
    (tmp_path / "a").write_bytes(b"345")
    with pytest.raises(OSError) as caught:
        store.read("a", 1, 1, version)
    assert caught.value.errno == errno.ESTALE
