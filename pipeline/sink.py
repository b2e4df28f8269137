"""The sink: finished chunks become a tar and an index file, and a finished run one published index.

    shards/<chunk>.<8 hex of its content>.tar    plain WebDataset
    index/_pending/<run>/<chunk>.parquet         its existence is the commit of a chunk
    index/<run>.parquet                          a published run, written once

The tar goes first, under a name that holds its own hash, and the index file that names it after it;
both are created, never replaced. A writer that dies in between leaves a tar that nothing refers to.
Two writers of one chunk: the first index file counts, and both get its receipt. Whoever reads the
index sees whole chunks or nothing, and the bytes depend on nothing but the rows and the members.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store import Store
from pipeline.tar import write_tar
from schemas.errors import RunError, SinkError
from schemas.index import INDEX_SCHEMA, IndexRow, Member, rows_to_table, table_to_rows
from schemas.members import copy_key

INDEX = "index"
PENDING = "index/_pending"
SHARDS = "shards"
ROW_GROUP = 65_536
READERS = 16  # pending files are small: their reading waits for the store, not for the CPU


@dataclass(frozen=True)
class Receipt:
    """What the driver learns of a committed chunk. `seconds` is the time spent in ops."""

    chunk: str
    kept: int
    rejected: int
    failed: int
    bytes: int
    images: int
    seconds: float = 0.0


def commit_chunk(
    store: Store,
    run: str,
    chunk_id: str,
    woven: Sequence[tuple[IndexRow, dict[str, bytes]]],
    attempted: int,
) -> Receipt:
    """Writes a chunk's tar, then its index file. RunError where samples are missing."""
    rows = [row for row, _ in woven]
    _check_conserved(chunk_id, rows, attempted)
    with _sink_errors(store):
        placed = _write_shard(store, chunk_id, woven)
        path = pending_path(run, chunk_id)
        if not store.create(path, _parquet(rows_to_table(placed))):
            # A replay of this chunk, or another writer: what is there counts, and is the same
            # unless the two ran on different kinds of device.
            placed = table_to_rows(_read_table(store, path))
            _check_conserved(chunk_id, placed, attempted)
    return receipt_of(chunk_id, placed)


def receipt_of(chunk_id: str, rows: Sequence[IndexRow]) -> Receipt:
    """The receipt that a chunk's rows amount to."""
    count = Counter(row.status for row in rows)
    size = sum(member.size for row in rows for member in row.members)
    return Receipt(
        chunk_id, count["kept"], count["rejected"], count["failed"], bytes=size, images=len(rows)
    )


def committed(store: Store, run: str) -> set[str]:
    """The chunks that are committed, pending in this run or published in any."""
    with _sink_errors(store):
        chunks = set(_pending(store, run))
        for path in (published_path(name) for name in published_runs(store)):
            column = pq.read_table(io.BytesIO(store.read(path)), columns=["chunk"])["chunk"]
            chunks |= set(column.unique().to_pylist())
    return chunks


def publish(store: Store, run: str, order: Sequence[str]) -> None:
    """Merges a run's pending files, in the plan's order, into its published index; then drops them.

    A chunk of `order` that is neither pending nor published elsewhere is a RunError. Publishing
    again does nothing but finish an interrupted clean-up.
    """
    with _sink_errors(store):
        pending = _pending(store, run)
        if run not in published_runs(store):
            missing = set(order) - committed(store, run)
            if missing:
                raise RunError(f"{run}: {len(missing)} of {len(order)} chunks are not committed")
            paths = [pending_path(run, chunk) for chunk in order if chunk in set(pending)]
            data = _parquet(_read_tables(store, paths))
            path = published_path(run)
            if not store.create(path, data) and store.read(path) != data:
                raise SinkError(f"{store.at(path)}: another process published other rows")
        for chunk in pending:
            store.delete(pending_path(run, chunk))


def read_index(
    store: Store, runs: Sequence[str] | None = None, *, pending: bool = False
) -> pa.Table:
    """The rows of these runs, or of all: published ones, and with `pending` those under way too."""
    with _sink_errors(store):
        there = published_runs(store)
        open_runs = [name for name in pending_runs(store) if name not in there] if pending else []
        unknown = sorted(set(runs or ()) - {*there, *open_runs})
        if unknown:
            known = ", ".join([*there, *open_runs]) or "none"
            raise SinkError(f"{store.url}: no run {', '.join(unknown)}; there are: {known}")
        paths = [published_path(name) for name in there if runs is None or name in runs]
        for name in open_runs:
            if runs is None or name in runs:
                paths += [pending_path(name, chunk) for chunk in _pending(store, name)]
        return _read_tables(store, paths)


def published_runs(store: Store) -> list[str]:
    """The names of the published runs, sorted."""
    names = store.entries(INDEX)
    return [name.removesuffix(".parquet") for name in names if name.endswith(".parquet")]


def pending_runs(store: Store) -> list[str]:
    """The names of the runs that have committed chunks outside their published index, sorted."""
    return sorted({path.removeprefix(f"{PENDING}/").split("/")[0] for path in store.list(PENDING)})


def published_path(run: str) -> str:
    """Where a published run's index is."""
    return f"{INDEX}/{run}.parquet"


def pending_path(run: str, chunk_id: str) -> str:
    """Where the rows of a committed chunk are until its run is published."""
    return f"{PENDING}/{run}/{chunk_id}.parquet"


def shard_path(chunk_id: str, data: bytes) -> str:
    """Where a chunk's tar is: its name holds 8 hex digits of its content."""
    return f"{SHARDS}/{chunk_id}.{hashlib.blake2b(data, digest_size=4).hexdigest()}.tar"


def _pending(store: Store, run: str) -> list[str]:
    names = store.entries(f"{PENDING}/{run}")
    return [name.removesuffix(".parquet") for name in names if name.endswith(".parquet")]


def _write_shard(
    store: Store, chunk_id: str, woven: Sequence[tuple[IndexRow, dict[str, bytes]]]
) -> list[IndexRow]:
    """The rows with their places; where nothing was kept there is no tar."""
    keys = [copy_key(row.source_key, row.copy) for row, _ in woven]
    files = [
        (f"{key}.{suffix}", data)
        for key, (row, members) in zip(keys, woven, strict=True)
        if row.status == "kept"
        for suffix, data in members.items()
    ]
    if not files:
        return [row for row, _ in woven]
    data, members = write_tar(files)
    path = shard_path(chunk_id, data)
    if not store.create(path, data) and store.read(path) != data:
        raise SinkError(f"{store.at(path)}: there is a file of this name with other content")
    places = iter(members)
    return [
        _placed(row, path, key, [next(places) for _ in written]) if row.status == "kept" else row
        for key, (row, written) in zip(keys, woven, strict=True)
    ]


def _placed(row: IndexRow, path: str, key: str, members: Sequence[Member]) -> IndexRow:
    return replace(row, shard=path, key=key, members=tuple(members))


def _check_conserved(chunk_id: str, rows: Sequence[IndexRow], attempted: int) -> None:
    receipt = receipt_of(chunk_id, rows)
    lost = attempted - receipt.kept - receipt.rejected - receipt.failed
    if lost:
        raise RunError(f"chunk {chunk_id}: {lost} of {attempted} samples lost")
    strangers = {row.chunk for row in rows} - {chunk_id}
    if strangers:
        raise RunError(f"chunk {chunk_id}: holds rows of {', '.join(sorted(strangers))}")


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=ROW_GROUP)
    return buffer.getvalue()


def _read_tables(store: Store, paths: Sequence[str]) -> pa.Table:
    with ThreadPoolExecutor(READERS) as pool:
        tables = list(pool.map(lambda path: _read_table(store, path), paths))
    return pa.concat_tables(tables) if tables else INDEX_SCHEMA.empty_table()


def _read_table(store: Store, path: str) -> pa.Table:
    try:
        table = pq.read_table(io.BytesIO(store.read(path)))
    except pa.ArrowInvalid as error:
        raise SinkError(f"{store.at(path)}: not an index file: {error}") from error
    if not table.schema.equals(INDEX_SCHEMA):
        raise SinkError(f"{store.at(path)}: written by another version of noiseloom")
    return table


@contextmanager
def _sink_errors(store: Store) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SinkError(f"{store.url}: {error}") from error
