"""All images of a source, as fingerprints: what a copy must not reproduce.

    fingerprints/<shard's content and how it is read>.parquet    key, hash, gray; one row an image

One file for each source shard, in the sink, made before any chunk is woven and never replaced
(`fingerprinting.py`): a later run computes only those of new shards. What is in it depends on the
shard alone. An image that cannot be decoded is left out: no model can have learnt it from here.

In memory an image takes 4.2 KB: 64x64 numbers of 8 bits, and its hash.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.index.files import READERS, sink_errors
from pipeline.known.fingerprint import SIDE, Floats, Look, candidates
from pipeline.source.shards import Shard
from pipeline.storage.store import Store
from schemas.errors import SinkError
from schemas.recipe import Source, digest_of

FOLDER: Final = "fingerprints"
VERSION: Final = 1
"""Of what is computed; another one makes other files."""

SCHEMA: Final = pa.schema(
    [("key", pa.string()), ("hash", pa.uint64()), ("gray", pa.binary(SIDE * SIDE))]
)

NEARER: Final = 2.0
"""So many times as near to another image as its own source is: then a copy reproduces it. Frames of
one scene are near to each other, and a copy of one is near to all of them and reproduces none."""

SAME: Final = 0.99
"""Source images that are more alike are the same picture: none of them tells which was reproduced.
The own source is such a one, and 8 bits a number are this exact in images of a few bright spots."""

BLOCK: Final = 4096
"""Images that are compared at once: 64 MB."""

Grays = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Known:
    """The images of a source. `grays_n`: (n, SIDE²), each scaled so that its largest is 127."""

    hashes_n: NDArray[np.uint64]
    grays_n: Grays

    @classmethod
    def of(cls, tables: Sequence[pa.Table]) -> Known:
        """Of the tables of all shards."""
        hashes = [np.asarray(table["hash"].to_numpy(), np.uint64) for table in tables]
        grays = [b"".join(table["gray"].to_pylist()) for table in tables]
        rows = np.frombuffer(b"".join(grays), np.int8).reshape(-1, SIDE * SIDE)
        return cls(np.concatenate([np.zeros(0, np.uint64), *hashes]), rows)

    def __len__(self) -> int:
        return len(self.hashes_n)

    def reproduced(self, copy: list[Look], source: list[Look]) -> float:
        """How like a copy is to the image, other than its source, that it reproduces; 0 where it
        reproduces none. Both are given all eight ways (`fingerprint.looks`).
        """
        most = 0.0
        near = candidates(self.hashes_n, copy)
        for start in range(0, len(near), BLOCK):
            at = near[start : start + BLOCK]
            rows = self.grays_n[at].astype(np.float32)
            rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
            its, sources = _most_alike(rows, copy), _most_alike(rows, source)
            reproduces = (NEARER * (1 - its) < 1 - sources) & (sources < SAME)
            most = max(most, float(np.max(its, where=reproduces, initial=0.0)))
        return most


def _most_alike(rows_n: Floats, eight: list[Look]) -> Floats:
    """The correlation of each image with this one, the best of eight ways."""
    alike = rows_n @ np.stack([look.gray for look in eight], axis=1)
    return np.asarray(np.clip(alike.max(axis=1), -1, 1), np.float32)


def known_path(shard: Shard, source: Source) -> str:
    """Where the sink keeps the fingerprints of a shard; `source` says which members are images."""
    layout = [source.image, source.labels, source.segmentation]
    return f"{FOLDER}/{digest_of([VERSION, shard.content, layout])}.parquet"


def missing_of(store: Store, paths: Sequence[str]) -> list[str]:
    """Those that the sink does not hold yet."""
    with sink_errors(store):
        there = set(store.entries(FOLDER))
    return [path for path in paths if path.rpartition("/")[2] not in there]


def load_known(store: Store, paths: Sequence[str]) -> Known:
    """The fingerprints in these files; SinkError where one is missing or is something else."""
    with ThreadPoolExecutor(READERS) as pool:
        return Known.of(list(pool.map(lambda path: read_fingerprints(store, path), paths)))


def read_fingerprints(store: Store, path: str) -> pa.Table:
    """One of these files."""
    says = "not fingerprints of source images; delete it and start the run again"
    with sink_errors(store):
        data = store.read(path)
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowInvalid, OSError) as error:  # OSError: pages that do not unpack
        raise SinkError(f"{store.at(path)}: {says}: {error}") from error
    if not table.schema.equals(SCHEMA):
        raise SinkError(f"{store.at(path)}: {says}")
    return table
