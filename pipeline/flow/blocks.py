"""What travels between the stages of a run: Arrow tables, one table for one chunk.

Encoded bytes are `large_binary` columns, so that Ray counts their size as it is and spills nothing
needlessly. An `encoded` block has a row for each source sample, a `woven` one for each copy: with
what is stored of it, or with the bytes of its source where that goes into the quarantine. What
travels from one pool of actors to the next is in `pipeline.flow.under_way_block`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa

from pipeline.source.plan import EncodedSample
from schemas.index import INDEX_SCHEMA, IndexRow, rows_to_table, table_to_rows

ENCODED = pa.schema(
    [
        ("chunk", pa.string()),
        ("key", pa.string()),
        ("image", pa.large_binary()),
        ("image_suffix", pa.string()),
        ("labels", pa.large_binary()),
        ("segmentation", pa.large_binary()),
        ("content", pa.string()),
        ("shard", pa.string()),
        ("problem", pa.list_(pa.string())),
        ("copies", pa.list_(pa.int64())),
    ]
)

_MEMBERS = pa.list_(pa.struct([("suffix", pa.string()), ("data", pa.large_binary())]))

WOVEN = pa.schema(
    [
        ("row", pa.struct(list(INDEX_SCHEMA))),
        ("members", _MEMBERS),
        ("attempted", pa.int64()),
        ("seconds", pa.list_(pa.float64())),
    ]
)


def encoded_block(chunk_id: str, samples: Sequence[EncodedSample]) -> pa.Table:
    """The samples of one chunk as a block."""
    records = [{"chunk": chunk_id, **asdict(sample)} for sample in samples]
    return pa.Table.from_pylist(records, schema=ENCODED)


def encoded_samples(block: pa.Table) -> tuple[str, list[EncodedSample]]:
    """The chunk's id and its samples."""
    records = block.select(ENCODED.names).to_pylist()
    chunk_id = str(records[0]["chunk"])
    for record in records:
        del record["chunk"]
        for name in ("problem", "copies"):
            record[name] = None if record[name] is None else tuple(record[name])
    return chunk_id, [EncodedSample(**record) for record in records]


def woven_block(
    woven: Sequence[tuple[IndexRow, dict[str, bytes]]], attempted: int, seconds: Sequence[float]
) -> pa.Table:
    """One chunk as a block, with how many copies were attempted and how long each stage took."""
    rows = rows_to_table([row for row, _ in woven]).to_struct_array()
    members = [
        [{"suffix": suffix, "data": data} for suffix, data in files.items()] for _, files in woven
    ]
    columns = [
        rows,
        pa.array(members, type=_MEMBERS),
        pa.array([attempted] * len(woven), type=pa.int64()),
        pa.array([list(seconds)] * len(woven), type=pa.list_(pa.float64())),
    ]
    return pa.Table.from_arrays(columns, schema=WOVEN)


def woven_copies(
    block: pa.Table,
) -> tuple[list[tuple[IndexRow, dict[str, bytes]]], int, tuple[float, ...]]:
    """The inverse of `woven_block`."""
    rows = table_to_rows(pa.Table.from_struct_array(block["row"].combine_chunks()))
    members = [
        {str(file["suffix"]): bytes(file["data"]) for file in files}
        for files in block["members"].to_pylist()
    ]
    attempted, seconds = block["attempted"][0].as_py(), tuple(block["seconds"][0].as_py())
    return list(zip(rows, members, strict=True)), attempted, seconds
