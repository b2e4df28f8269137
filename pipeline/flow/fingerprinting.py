"""Making the fingerprints of a source (`pipeline/known`), shard by shard, in front of a run.

An image may crash its decoder and take the process with it. The journal of attempts finds it here
as it does in a chunk (`pipeline/chain/attempts.py`): after a death every image is named before
it is touched, and one that was in hand at too many deaths is left out. It fails by name when its
chunk is woven.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.chain.attempts import Attempt
from pipeline.images.formats import read_picture
from pipeline.index.files import sink_errors
from pipeline.known.fingerprint import look_at, small_gray
from pipeline.known.images import SCHEMA, known_path
from pipeline.source.plan import Chunk, EncodedSample, read_chunk
from pipeline.source.shards import Shard
from pipeline.storage.store import Store
from schemas.errors import SampleError
from schemas.recipe import Source
from schemas.sample import ImageArray

DECODERS: Final = 2
"""Threads that decode: the codecs release the GIL."""

Row = dict[str, object]


@dataclass(frozen=True)
class ShardImages:
    """One source shard, in its chunks."""

    chunks: tuple[Chunk, ...]

    @property
    def shard(self) -> Shard:
        """Of all these chunks."""
        return self.chunks[0].shard

    @property
    def images(self) -> int:
        """At most so many images."""
        return sum(len(chunk.samples) for chunk in self.chunks)


def shard_images(chunks: Iterable[Chunk]) -> list[ShardImages]:
    """The chunks by their shard, in order."""
    by_shard: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        by_shard.setdefault(chunk.shard.content, []).append(chunk)
    return [ShardImages(tuple(its)) for its in by_shard.values()]


def journal_of(path: str) -> str:
    """What the journal of attempts calls the making of this file, as if it were a chunk."""
    return path.replace("/", "-").removesuffix(".parquet")


def make_known(
    store: Store, images: ShardImages, source: Source, attempt: Attempt | None = None
) -> None:
    """Computes the fingerprints of a shard and writes them, unless they are there already;
    SourceError where the shard cannot be read, or has changed.
    """
    buffer = io.BytesIO()
    pq.write_table(fingerprints(images.chunks, source, attempt), buffer, compression="zstd")
    with sink_errors(store):
        store.create(known_path(images.shard, source), buffer.getvalue())


def fingerprints(
    chunks: Sequence[Chunk], source: Source, attempt: Attempt | None = None
) -> pa.Table:
    """A row for each image of these chunks that can be decoded; one chunk at a time in memory."""
    encoded = (read_chunk(chunk, source) for chunk in chunks)
    if attempt is not None and attempt.careful:
        rows = list(_carefully(encoded, attempt))
    else:
        with ThreadPoolExecutor(DECODERS) as threads:
            rows = [row for items in encoded for row in threads.map(_row, items) if row]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def fingerprint(key: str, image_hwc: ImageArray) -> Row:
    """The row of one image."""
    look = look_at(small_gray(image_hwc))
    most = float(np.abs(look.gray).max())
    gray = np.round(look.gray * (127 / most if most else 0)).astype(np.int8)
    return {"key": key, "hash": int(look.hash), "gray": gray.tobytes()}


def _carefully(encoded: Iterable[Sequence[EncodedSample]], attempt: Attempt) -> Iterator[Row]:
    """One image after the other, each named before it is touched; the last step: all are done."""
    steps = count(1)
    for items in encoded:
        for item in items:
            if item.key in attempt.killers:
                continue
            attempt.in_hand(next(steps), item.key)
            row = _row(item)
            if row is not None:
                yield row
    attempt.in_hand(next(steps), None)


def _row(encoded: EncodedSample) -> Row | None:
    if encoded.problem is not None:
        return None
    try:
        return fingerprint(encoded.key, read_picture(encoded.image).image_hwc)
    except SampleError:
        return None
