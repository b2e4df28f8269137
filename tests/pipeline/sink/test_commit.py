"""Laws of the sink: commits are atomic, repeatable, complete, and readable by others."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
import webdataset

from pipeline.index.files import (
    pending_path,
    pending_runs,
    published_path,
    published_runs,
    read_index,
)
from pipeline.sink.commit import Receipt, commit_chunk
from pipeline.sink.publication import committed, publish
from pipeline.sink.slots import slot_path
from pipeline.storage.store import Store
from schemas.errors import RunError, SinkError
from schemas.index import rows_to_table, table_to_rows
from tests.pipeline.rows import woven


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(str(tmp_path / "out") if request.param == "disk" else f"memory://{tmp_path.name}")


def commit(store: Store, chunk: str = "c0", run: str = "r", **kwargs: Any) -> Receipt:
    return commit_chunk(store, run, chunk, woven(chunk, run, **kwargs), 5)


def contents(store: Store) -> dict[str, bytes]:
    return {path: store.read(path) for path in store.list("")}


def test_a_commit_places_every_member_where_its_row_says(store: Store) -> None:
    receipt = commit(store)
    assert receipt == Receipt("c0", kept=3, rejected=1, failed=1, bytes=3 * 602, images=5)
    rows = table_to_rows(read_index(store, pending=True))
    assert [row.status for row in rows] == ["kept", "kept", "rejected", "failed", "kept"]
    for row in rows:
        if row.status != "kept":
            assert (row.shard, row.key, row.members) == (None, None, ())
            continue
        assert row.shard is not None
        data = store.read(row.shard)
        assert row.shard == f"shards/c0.{hashlib.blake2b(data, digest_size=4).hexdigest()}.tar"
        assert [member.name for member in row.members] == [f"{row.key}.png", f"{row.key}.json"]
        assert [data[m.offset :][: m.size] for m in row.members] == [b"x" * 600, b"{}"]
    assert [row.key for row in rows if row.key] == ["a-000", "a-001", "d-000"]


def test_what_is_rejected_and_stored_lies_in_a_tar_of_its_own(store: Store) -> None:
    plain = woven()
    stored = [(row, {"png": b"r" * 9} if row.status == "rejected" else m) for row, m in plain]
    commit_chunk(store, "r", "c0", stored, 5)
    publish(store, "r", ["c0"])
    rows = table_to_rows(read_index(store))
    (row,) = (row for row in rows if row.status == "rejected")
    data = store.read(row.shard or "")
    assert row.shard == f"rejected/c0.{hashlib.blake2b(data, digest_size=4).hexdigest()}.tar"
    assert (row.key, [m.name for m in row.members]) == ("b-000", ["b-000.png"])
    assert data[row.members[0].offset :][:9] == b"r" * 9
    assert {row.shard for row in rows if row.status == "kept"} == set(store.list("shards"))


def test_committing_again_changes_nothing(store: Store) -> None:
    first = commit(store)
    before = contents(store)
    assert commit(store) == first
    assert contents(store) == before


def test_of_two_writers_the_first_index_file_counts(store: Store) -> None:
    commit(store)
    index = store.read(pending_path("r", "c0"))
    other = woven(content=b"yy")
    theirs = commit_chunk(store, "r", "c0", other, 5)
    assert theirs.bytes == 3 * 602
    assert store.read(pending_path("r", "c0")) == index
    assert len(store.list("shards")) == 2


def test_a_crash_before_the_index_file_leaves_no_committed_chunk(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Store.create

    def dies(self: Store, path: str, data: bytes) -> bool:
        if path.startswith("index"):
            raise KeyboardInterrupt
        return create(self, path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "create", dies)
        with pytest.raises(KeyboardInterrupt):
            commit(store)
    assert len(store.list("shards")) == 1
    assert committed(store, "r") == set()
    assert commit(store).kept == 3
    assert committed(store, "r") == {"c0"}


@pytest.mark.parametrize("folder", ["shards", "quarantine"])
def test_a_tar_that_goes_before_its_index_file_is_there_is_written_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """Whoever deletes it just then: the writer looks once more."""
    create = Store.create

    def swept(self: Store, path: str, data: bytes) -> bool:
        if path.startswith("index"):
            self.delete_many(self.list(folder))
        return create(self, path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "create", swept)
        commit(store)
    assert len(store.list(folder)) == 1
    publish(store, "r", ["c0"])


def test_a_chunk_whose_tar_was_deleted_is_not_published_but_made_again(store: Store) -> None:
    commit(store, "c0")
    commit(store, "c1")
    (tar,) = (path for path in store.list("shards") if "/c1." in path)
    store.delete(tar)
    with pytest.raises(RunError, match="1 of 2 chunks are not committed, c1 is the first"):
        publish(store, "r", ["c0", "c1"])
    assert committed(store, "r") == {"c0"}
    commit(store, "c1")
    publish(store, "r", ["c0", "c1"])
    assert len(read_index(store)) == 10


def test_a_chunk_that_lost_a_sample_is_not_committed(store: Store) -> None:
    with pytest.raises(RunError, match="1 of 6 samples lost"):
        commit_chunk(store, "r", "c0", woven(), 6)
    assert contents(store) == {}


def test_rows_of_another_chunk_are_refused(store: Store) -> None:
    with pytest.raises(RunError, match="holds rows of c1"):
        commit_chunk(store, "r", "c0", woven("c1"), 5)


def test_a_chunk_without_kept_samples_has_no_tar(store: Store) -> None:
    rows = [(replace(row, status="rejected"), {}) for row, _ in woven()]
    receipt = commit_chunk(store, "r", "c0", rows, 5)
    assert (receipt.kept, receipt.bytes) == (0, 0)
    assert store.list("") == [pending_path("r", "c0")]


def test_publishing_merges_in_the_order_of_the_plan(store: Store) -> None:
    for chunk in ("c2", "c0", "c1"):
        commit(store, chunk)
    publish(store, "r", ["c1", "c2", "c0"])
    assert store.list("index") == [slot_path(1), published_path("r")]
    chunks = read_index(store)["chunk"].to_pylist()
    assert chunks == ["c1"] * 5 + ["c2"] * 5 + ["c0"] * 5
    assert (published_runs(store), pending_runs(store)) == (["r"], [])
    assert committed(store, "r") == committed(store, "another") == {"c0", "c1", "c2"}


def test_the_published_bytes_do_not_depend_on_the_order_of_commits(tmp_path: Path) -> None:
    stores = [Store(str(tmp_path / name)) for name in "ab"]
    for store, order in zip(stores, (("c0", "c1"), ("c1", "c0")), strict=True):
        for chunk in order:
            commit(store, chunk)
        publish(store, "r", ["c0", "c1"])
    assert contents(stores[0]) == contents(stores[1])


def test_an_incomplete_run_is_not_published(store: Store) -> None:
    commit(store)
    with pytest.raises(RunError, match="1 of 2 chunks"):
        publish(store, "r", ["c0", "c1"])
    assert published_runs(store) == []


def test_a_later_run_publishes_only_what_is_new(store: Store) -> None:
    commit(store, "c0", "r")
    publish(store, "r", ["c0"])
    commit(store, "c1", "r2")
    publish(store, "r2", ["c0", "c1"])
    assert read_index(store, ["r2"])["chunk"].unique().to_pylist() == ["c1"]
    assert len(read_index(store)) == 10


def test_an_interrupted_cleanup_is_finished_by_publishing_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for chunk in ("c0", "c1"):
        commit(store, chunk)

    def dies(self: Store, paths: Sequence[str]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Store, "delete_many", dies)
        with pytest.raises(KeyboardInterrupt):
            publish(store, "r", ["c0", "c1"])
    assert len(read_index(store, pending=True)) == 10
    publish(store, "r", ["c0", "c1"])
    assert store.list("index") == [slot_path(1), published_path("r")]


def test_reading_names_the_runs_that_there_are(store: Store) -> None:
    commit(store)
    assert len(read_index(store)) == 0
    assert len(read_index(store, ["r"], pending=True)) == 5
    with pytest.raises(SinkError, match="no run x; there are: r"):
        read_index(store, ["x"], pending=True)


def test_a_damaged_index_file_is_named(store: Store) -> None:
    store.create(published_path("r"), b"PAR1 and nothing else")
    with pytest.raises(SinkError, match=r"r\.parquet: not an index file"):
        read_index(store)


def test_an_index_of_other_columns_is_refused(store: Store) -> None:
    table = rows_to_table([row for row, _ in woven()]).drop_columns("seed")
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    store.create(published_path("r"), buffer.getvalue())
    with pytest.raises(SinkError, match="another version"):
        read_index(store)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset's file
def test_webdataset_and_duckdb_alone_can_read_it(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    commit(store)
    publish(store, "r", ["c0"])
    query = f"select shard, key, members[1].size from '{tmp_path}/index/*.parquet'"
    kept = duckdb.sql(f"{query} where status = 'kept' order by key").fetchall()
    assert [(key, size) for _, key, size in kept] == [
        ("a-000", 600),
        ("a-001", 600),
        ("d-000", 600),
    ]
    samples = list(webdataset.WebDataset(str(tmp_path / kept[0][0]), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["a-000", "a-001", "d-000"]
    assert samples[0]["png"] == b"x" * 600
