"""The laws can tell: each of them is broken here once, and is seen to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.sink.commit import commit_chunk
from pipeline.sink.publication import publish
from pipeline.storage.store import Store
from tests.chaos.laws import Published, Terms, Verdict, judge, left_over, published
from tests.chaos.reader import DiskView, Reader
from tests.pipeline.rows import woven

CHUNKS = ("c0", "c1")
INDEX = "index/r.parquet"
UNUSED = Reader(DiskView(Path()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = Store(str(tmp_path))
    for chunk in CHUNKS:
        rows = [(replace(row, sample_id=f"{chunk}{row.sample_id}"), m) for row, m in woven(chunk)]
        commit_chunk(store, "r", chunk, rows, len(rows))
    publish(store, "r", CHUNKS)
    return tmp_path


def with_index(found: Published, first: int, last: int, folder: Path) -> Published:
    """The same, with an index of some of its rows."""
    table = pq.read_table(folder / INDEX)
    pq.write_table(table.slice(first, last - first), folder / "other.parquet")
    return replace(found, indexes={INDEX: (folder / "other.parquet").read_bytes()})


def test_the_same_result_is_green(folder: Path) -> None:
    found = published(DiskView(folder))
    assert judge(found, found, UNUSED, Terms()) == Verdict()
    assert left_over(found.names, found.names, Terms()) == []


def test_a_lost_and_a_doubled_copy_are_counted(folder: Path) -> None:
    whole = published(DiskView(folder))
    parts = with_index(whole, 0, 9, folder)
    assert judge(parts, whole, UNUSED, Terms()).lost == 1
    twice = replace(whole, indexes={**whole.indexes, "index/s.parquet": parts.indexes[INDEX]})
    verdict = judge(twice, whole, UNUSED, Terms(same_runs=False))
    assert (verdict.lost, verdict.doubled) == (0, 9)


def test_other_bytes_in_a_tar_are_seen(folder: Path) -> None:
    whole = published(DiskView(folder))
    name = next(iter(whole.tars))
    other = replace(whole, tars={**whole.tars, name: b"other"})
    assert judge(other, whole, UNUSED, Terms()).wrong == (f"tar {name}: other bytes",)


def test_a_reader_sees_what_is_partial_missing_or_changed(folder: Path) -> None:
    whole = published(DiskView(folder))
    tar, other = sorted(whole.tars)
    reader = Reader(DiskView(folder))
    reader.look()
    assert reader.partial == []

    (folder / tar).write_bytes(whole.tars[tar][:-1])
    (folder / INDEX).write_bytes(whole.indexes[INDEX] + b"!")
    (folder / other).unlink()
    again = Reader(DiskView(folder))
    (folder / "index" / "s.parquet").write_bytes(whole.indexes[INDEX])
    for one in (reader, again):
        one.look()
        assert any(tar in found for found in one.partial)
        assert any(f"names {other}, which is not there" in found for found in one.partial)
    assert f"{INDEX} changed after it was published" in reader.partial
    assert any("no whole index" in found for found in again.partial)


def test_files_that_stay_behind_are_named(folder: Path) -> None:
    whole = published(DiskView(folder))
    left = [*whole.names, "attempts/r/c0/0.json"]
    for terms in (Terms(), Terms(same_runs=False)):
        assert left_over(left, whole.names, terms) == ["left over: attempts/r/c0/0.json"]
    assert left_over(whole.names[1:], whole.names, Terms()) == [f"not there: {whole.names[0]}"]
