"""Index files: where they are, how they are written, and reading those of a sink.

index/_pending/<run>/<chunk>.parquet    the rows of a committed chunk of a run under way
index/<run>.parquet                     a published run: written once, and what training reads
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage.ranged_file import RangedFile
from pipeline.storage.store import Store
from pipeline.storage.trouble import storage_error
from schemas.errors import SinkError
from schemas.index import INDEX_SCHEMA, IndexRow, table_to_rows

ItemT = TypeVar("ItemT")
FoldT = TypeVar("FoldT")

INDEX: Final = "index"
PENDING: Final = "index/_pending"
ROW_GROUP: Final = 65_536
READERS: Final = 16
"""Pending files are small: their reading waits for the store, not for the CPU."""

TOGETHER: Final = 256
"""Tables of chunks that are joined to one: some 10,000 rows."""

TAR_COLUMNS: Final = ("shard", "quarantine")

TRIES: Final = 8
"""Of reading what other processes move meanwhile."""


def open_sink(url: str) -> Store:
    """The sink that is named, there or not yet; SinkError where it is no place for one."""
    try:
        store = Store(url)
    except ValueError as error:
        raise SinkError(str(error)) from None
    folder = store.local
    with sink_errors(store):
        for place in () if folder is None else (folder, *folder.parents):
            if place.exists() and not place.is_dir():
                what = "a file" if place == folder else f"{place} is a file"
                raise SinkError(f"{url}: {what}; a sink is a folder")
    return store


def sink_there(url: str) -> Store:
    """The sink that a command looks at; SinkError where there is none. In an object store there are
    no folders: one that is misspelt is like one that is empty.
    """
    store = open_sink(url)
    if store.local is not None and not store.local.exists():
        raise SinkError(f"{url}: there is no such folder; `sink:` of a recipe names it")
    return store


def published_path(run: str) -> str:
    """Where a published run's index is."""
    return f"{INDEX}/{run}.parquet"


def pending_path(run: str, chunk_id: str) -> str:
    """Where the rows of a committed chunk are until its run is published."""
    return f"{PENDING}/{run}/{chunk_id}.parquet"


def published_runs(store: Store) -> list[str]:
    """The names of the published runs, sorted."""
    with sink_errors(store):
        names = store.entries(INDEX)
    return [name.removesuffix(".parquet") for name in names if name.endswith(".parquet")]


def pending_runs(store: Store) -> list[str]:
    """The names of the runs that have committed chunks outside their published index, sorted."""
    with sink_errors(store):
        paths = store.list(PENDING)
    return sorted({path.removeprefix(f"{PENDING}/").split("/")[0] for path in paths})


def pending_chunks(store: Store, run: str) -> list[str]:
    """The chunks that a run has committed and not yet published."""
    with sink_errors(store):
        names = store.entries(f"{PENDING}/{run}")
    return [name.removesuffix(".parquet") for name in names if name.endswith(".parquet")]


def read_index(
    store: Store, runs: Sequence[str] | None = None, *, pending: bool = False
) -> pa.Table:
    """The rows of these runs, or of all: published ones, and with `pending` those under way too.

    All holds a copy twice where `noiseloom regate` was at work: `publication.current_runs` names
    the runs that hold each once.
    """
    with sink_errors(store):
        for _ in range(TRIES):
            try:
                return read_tables(store, _paths(store, runs, pending))
            except FileNotFoundError:
                continue  # published and dropped since they were listed
        return read_tables(store, _paths(store, runs, pending))


def _paths(store: Store, runs: Sequence[str] | None, pending: bool) -> list[str]:
    under_way = pending_runs(store) if pending else []  # first: publishing moves them on
    there = published_runs(store)
    under_way = [name for name in under_way if name not in there]
    unknown = sorted(set(runs or ()) - {*there, *under_way})
    if unknown:
        known = ", ".join([*there, *under_way]) or "none"
        raise SinkError(f"{store.url}: no run {', '.join(unknown)}; there are: {known}")
    paths = [published_path(name) for name in there if runs is None or name in runs]
    for name in under_way:
        if runs is None or name in runs:
            paths += [pending_path(name, chunk) for chunk in pending_chunks(store, name)]
    return paths


def index_file(tables: Iterable[pa.Table]) -> bytes:
    """The bytes of an index file that holds these rows. They do not depend on the tables that the
    rows come in, of which no more are held than make a row group.
    """
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, INDEX_SCHEMA, compression="zstd") as writer:
        for rows in _row_groups(tables):
            writer.write_table(rows, row_group_size=ROW_GROUP)
    return buffer.getvalue()


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, so many at a time, each time in one piece; one empty table where there is no
    row.
    """
    held, full = INDEX_SCHEMA.empty_table(), False
    for table in tables:
        held = pa.concat_tables([held, table])
        while len(held) >= ROW_GROUP:
            full = True
            yield held.slice(0, ROW_GROUP).combine_chunks()
            held = held.slice(ROW_GROUP)
    if len(held) or not full:
        yield held.combine_chunks()


def read_tables(store: Store, paths: Sequence[str]) -> pa.Table:
    """The rows of these index files, one after the other."""
    tables = list(joined(paths, lambda path: read_table(store, path)))
    return pa.concat_tables(tables) if tables else INDEX_SCHEMA.empty_table()


def joined(items: Sequence[ItemT], read: Callable[[ItemT], pa.Table | None]) -> Iterator[pa.Table]:
    """The rows that `read` finds for each of these, in fewer tables: one of a few rows takes 50 KB,
    for all its columns. So many are read at once, and no further ahead.
    """
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(items), TOGETHER):
            found = pool.map(read, items[start : start + TOGETHER])
            some = [table for table in found if table is not None]
            if some:
                yield pa.concat_tables(some).combine_chunks()


def read_table(store: Store, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one index file, or some columns; SinkError where it is something else."""
    data = store.read(path)
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        if file.schema_arrow.equals(INDEX_SCHEMA):
            return file.read(columns)
    except (pa.ArrowInvalid, OSError) as error:  # OSError: pages that do not unpack
        raise SinkError(f"{store.at(path)}: not an index file: {error}") from error
    raise SinkError(f"{store.at(path)}: written by another version of noiseloom")


def index_batches(
    store: Store, run: str, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a published run, or some columns of them, a row group's worth at a time: of an
    index of a million rows only that is in memory, and only the columns that are asked for are
    read.
    """
    path = published_path(run)
    try:
        with pq.ParquetFile(RangedFile(store, path), pre_buffer=True) as file:
            if not file.schema_arrow.equals(INDEX_SCHEMA):
                raise SinkError(f"{store.at(path)}: written by another version of noiseloom")
            yield from file.iter_batches(ROW_GROUP, columns=columns)
    except pa.ArrowInvalid as error:
        raise SinkError(f"{store.at(path)}: not an index file: {error}") from error


def fold_rows(
    store: Store,
    run: str,
    columns: Sequence[str],
    fold: Callable[[Iterable[pa.RecordBatch]], FoldT],
) -> FoldT:
    """What `fold` makes of these columns of a run, published or under way, of which it is handed a
    row group's worth at a time; of no rows where there is no such run. It is asked again where
    files are moved meanwhile.
    """
    with sink_errors(store):
        for _ in range(TRIES):
            try:
                return fold(_batches(store, run, columns))
            except FileNotFoundError:
                continue  # published and dropped since they were listed
        return fold(_batches(store, run, columns))


def _batches(store: Store, run: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    under_way = pending_chunks(store, run)  # first: publishing moves them on
    if store.exists(published_path(run)):
        yield from index_batches(store, run, columns)
        return
    paths = [pending_path(run, chunk) for chunk in under_way]
    for table in joined(paths, lambda path: read_table(store, path, columns)):
        yield from table.to_batches()


def rows_at(store: Store, run: str, numbers: Sequence[int]) -> dict[int, IndexRow]:
    """Some rows of a published run, by their numbers in it; only their row groups are read."""
    wanted, found, start = sorted(set(numbers)), dict[int, IndexRow](), 0
    with pq.ParquetFile(RangedFile(store, published_path(run)), pre_buffer=True) as file:
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            its = [number for number in wanted if start <= number < start + size]
            if its:
                table = file.read_row_group(group).take([number - start for number in its])
                found.update(zip(its, table_to_rows(table), strict=True))
            start += size
    return found


def tars_of(table: pa.Table) -> set[str]:
    """The tars that these rows name."""
    columns = (table[name].drop_null().unique() for name in TAR_COLUMNS)
    return {str(path) for column in columns for path in column.to_pylist()}


@contextmanager
def sink_errors(store: Store) -> Iterator[None]:
    """A store's trouble inside the block, as an error with a message."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, store.url, SinkError) from error
