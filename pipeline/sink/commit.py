"""The sink: a finished chunk becomes tars and an index file.

    quarantine/<chunk>.<8 hex of its content>.tar    source samples that failed
    shards/<chunk>.<8 hex of its content>.tar        plain WebDataset
    rejected/<chunk>.<8 hex of its content>.tar      the same, of what the gates rejected, if stored
    index/_pending/<run>/<chunk>.parquet             its existence is the commit of the chunk
    index/<run>.parquet                              a published run (pipeline.sink.publication)

The tars go first, under names that hold their own hash, and the index file that names them after
them; all are created, never replaced. What is there already is compared: the same content is
success, another index file means that somebody else won, and theirs counts. A writer that dies in
between leaves a tar that nothing refers to, which `noiseloom gc` removes; so after the index file a
writer confirms that its tars are still there. Whoever reads the index sees whole chunks or nothing,
and the bytes depend on nothing but the rows and the members.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from pipeline.index.files import index_file, pending_path, read_table, sink_errors
from pipeline.sink.quarantine import QUARANTINE, Woven, quarantine_path, quarantine_tar
from pipeline.storage.store import Store
from pipeline.tars.tar import write_tar
from schemas.errors import RunError, SinkError
from schemas.index import IndexRow, Status, rows_to_table, table_to_rows
from schemas.members import copy_key

SHARDS: Final = "shards"
REJECTED: Final = "rejected"
TARS: Final = (SHARDS, REJECTED, QUARANTINE)
"""The folders with tars."""

_FOLDERS: Final[dict[Status, str]] = {"kept": SHARDS, "rejected": REJECTED}


@dataclass(frozen=True)
class Receipt:
    """What the driver learns of a committed chunk. `stages`: the seconds spent in each of them."""

    chunk: str
    kept: int
    rejected: int
    failed: int
    bytes: int
    images: int
    stages: tuple[float, ...] = ()

    @property
    def seconds(self) -> float:
        """Spent in ops and gates altogether."""
        return sum(self.stages)


def commit_chunk(store: Store, run: str, chunk_id: str, woven: Woven, attempted: int) -> Receipt:
    """Writes a chunk's tars, then its index file. RunError where samples are missing."""
    _check_conserved(chunk_id, [row for row, _ in woven], attempted)
    rows, tars = _packed(chunk_id, woven)
    path, data = pending_path(run, chunk_id), index_file([rows_to_table(rows)])
    with sink_errors(store):
        for name, tar in tars.items():
            _create_same(store, name, tar)
        theirs = _create_index_file(store, path, data)
        if theirs is not None:
            rows = table_to_rows(theirs)
            _check_conserved(chunk_id, rows, attempted)
            return receipt_of(chunk_id, rows)
        for name, tar in tars.items():
            if not store.exists(name):
                _create_same(store, name, tar)
    return receipt_of(chunk_id, rows)


def receipt_of(chunk_id: str, rows: Sequence[IndexRow]) -> Receipt:
    """The receipt that a chunk's rows amount to."""
    count = Counter(row.status for row in rows)
    size = sum(member.size for row in rows for member in row.members)
    return Receipt(
        chunk_id, count["kept"], count["rejected"], count["failed"], bytes=size, images=len(rows)
    )


def shard_path(chunk_id: str, data: bytes, folder: str = SHARDS) -> str:
    """Where a chunk's tar is: its name holds 8 hex digits of its content."""
    return f"{folder}/{chunk_id}.{hashlib.blake2b(data, digest_size=4).hexdigest()}.tar"


def _packed(chunk_id: str, woven: Woven) -> tuple[list[IndexRow], dict[str, bytes]]:
    """The rows with their places, and the tars by path; no tar where it would be empty."""
    tars: dict[str, bytes] = {}
    rejects = quarantine_tar(woven)
    if rejects is not None:
        tars[quarantine_path(chunk_id, rejects)] = rejects
    quarantine = next(iter(tars), None)
    placed: dict[int, IndexRow] = {}
    for status, folder in _FOLDERS.items():
        its = {i: one for i, one in enumerate(woven) if one[0].status == status and one[1]}
        if its:
            path, tar, rows = _packed_into(folder, chunk_id, list(its.values()))
            tars[path] = tar
            placed.update(zip(its, rows, strict=True))
    others = [
        replace(row, quarantine=quarantine if row.status == "failed" else None) for row, _ in woven
    ]
    return [placed.get(i, row) for i, row in enumerate(others)], tars


def _packed_into(folder: str, chunk_id: str, woven: Woven) -> tuple[str, bytes, list[IndexRow]]:
    """One tar with these copies: its path, its bytes, and the rows with their places in it."""
    keys = [copy_key(row.source_key, row.copy) for row, _ in woven]
    files = [
        (f"{key}.{suffix}", data)
        for key, (_, members) in zip(keys, woven, strict=True)
        for suffix, data in members.items()
    ]
    tar, written = write_tar(files)
    path, places = shard_path(chunk_id, tar, folder), iter(written)
    rows = [
        replace(row, shard=path, key=key, members=tuple(next(places) for _ in members))
        for key, (row, members) in zip(keys, woven, strict=True)
    ]
    return path, tar, rows


def _create_same(store: Store, path: str, data: bytes) -> None:
    """Creates a file whose name holds its hash; SinkError where another is there."""
    if not store.create(path, data) and store.read(path) != data:
        raise SinkError(
            f"{store.at(path)}: there is a file of this name with other content; no run of "
            "noiseloom wrote it: move it away and start again"
        )


def _create_index_file(store: Store, path: str, data: bytes) -> pa.Table | None:
    """Commits; returns the rows that are there where another writer was faster, with others: two
    kinds of device differ in a last bit.
    """
    while not store.create(path, data):
        try:
            return None if store.read(path) == data else read_table(store, path)
        except FileNotFoundError:
            continue  # published and dropped just now: this file is a leftover, and harmless
    return None


def _check_conserved(chunk_id: str, rows: Sequence[IndexRow], attempted: int) -> None:
    receipt = receipt_of(chunk_id, rows)
    lost = attempted - receipt.kept - receipt.rejected - receipt.failed
    if lost:
        raise RunError(f"chunk {chunk_id}: {lost} of {attempted} samples lost")
    strangers = {row.chunk for row in rows} - {chunk_id}
    if strangers:
        raise RunError(f"chunk {chunk_id}: holds rows of {', '.join(sorted(strangers))}")
