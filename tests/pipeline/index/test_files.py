"""Index files are written and read a part at a time, and are the same."""

from __future__ import annotations

import io
from collections.abc import Iterable
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.index.files import fold_rows, index_file, joined, pending_path, read_index
from pipeline.sink.publication import publish
from pipeline.storage.store import Store
from schemas.index import rows_to_table
from tests.pipeline.rows import row

COLUMNS = ("source_key", "ops.list.element.kind")


@pytest.fixture
def store(tmp_path: object) -> Store:
    return Store(f"{tmp_path}/sink")


def pending(store: Store, chunks: int) -> list[str]:
    """A run under way; a row in each chunk."""
    names = [f"c{number}" for number in range(chunks)]
    for name in names:
        table = rows_to_table([row(f"k{name}", "rejected", chunk=name)])
        store.create(pending_path("r", name), index_file([table]))
    return names


def keys(batches: Iterable[pa.RecordBatch]) -> list[str]:
    return [key for batch in batches for key in batch["source_key"].to_pylist()]


def test_the_bytes_of_an_index_do_not_depend_on_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.index.files.ROW_GROUP", 10)
    table = rows_to_table([row(f"k{number}") for number in range(35)])
    cuts = [[0, 35], [0, 10, 20, 35], [0, 1, 1, 34, 35], list(range(36))]
    files = {index_file(table.slice(a, b - a) for a, b in pairwise(cut)) for cut in cuts}
    assert len(files) == 1
    read = pq.ParquetFile(io.BytesIO(files.pop()))
    assert [read.metadata.row_group(n).num_rows for n in range(4)] == [10, 10, 10, 5]
    assert read.read().equals(table)
    assert pq.read_table(io.BytesIO(index_file([]))).num_rows == 0


def test_no_more_is_read_ahead_than_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.index.files.TOGETHER", 4)
    read: list[int] = []

    def table(number: int) -> pa.Table | None:
        read.append(number)
        return None if number % 2 else rows_to_table([row(f"k{number}")])

    tables = joined(range(10), table)
    assert next(tables)["source_key"].to_pylist() == ["k0", "k2"]
    assert sorted(read) == [0, 1, 2, 3]
    assert [len(rest) for rest in tables] == [2, 1]


def test_columns_of_a_run_are_the_same_before_and_after_it_is_published(store: Store) -> None:
    names = pending(store, 5)
    before = fold_rows(store, "r", COLUMNS, keys)
    assert before == [f"k{name}" for name in names]
    publish(store, "r", names)
    assert fold_rows(store, "r", COLUMNS, keys) == before
    (kinds,) = fold_rows(store, "r", COLUMNS, list)[0]["ops"][:1].to_pylist()
    assert kinds == [{"kind": "flip"}]
    assert fold_rows(store, "none", COLUMNS, keys) == []


def test_a_run_that_is_published_while_it_is_gone_through_is_gone_through_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.index.files.TOGETHER", 2)
    names, tries = pending(store, 5), 0

    def publishing(batches: Iterable[pa.RecordBatch]) -> list[str]:
        nonlocal tries
        tries += 1
        found: list[str] = []
        for batch in batches:
            found += keys([batch])
            if tries == 1:
                publish(store, "r", names)
        return found

    assert fold_rows(store, "r", COLUMNS, publishing) == [f"k{name}" for name in names]
    assert tries == 2
    assert len(read_index(store, ["r"])) == 5
