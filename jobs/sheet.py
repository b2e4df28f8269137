"""The contact sheet that a run leaves, `runs/<run>.png`: a dozen copies beside their sources.

Made from what was written, not from what was in memory. Every kind of op that was applied is on it;
the choice depends on the index alone, so that the same run leaves the same picture.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import pyarrow as pa

from jobs.plan import RunPlan
from pipeline.sheet import Pair, before_after, readable
from pipeline.source import EncodedSample, read_chunk
from pipeline.store import Store
from schemas.index import IndexRow, table_to_rows
from schemas.members import image_among, split_name
from schemas.recipe import Source

SHOWN: Final = 12


def sheet_path(run: str) -> str:
    """Where a run's contact sheet is."""
    return f"runs/{run}.png"


def write_sheet(planned: RunPlan, index: pa.Table) -> bytes | None:
    """The sheet as PNG, also in the sink; None where nothing was kept."""
    rows = chosen(index)
    if not rows:
        return None
    kept = sum(status == "kept" for status in index["status"].to_pylist())
    note = f"{len(rows)} of {kept} kept copies; every kind of op that was applied is shown"
    names = planned.recipe.source.seg_classes or ()
    picture = before_after(list(_pairs(planned, rows)), planned.run, note, names)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    planned.store.create(sheet_path(planned.run), buffer.getvalue())
    return buffer.getvalue()


def chosen(index: pa.Table, count: int = SHOWN) -> list[IndexRow]:
    """Kept copies, the kinds of op in turn, spread over the run, with few ops on each."""
    kept = [i for i, status in enumerate(index["status"].to_pylist()) if status == "kept"]
    ops = index["ops"].to_pylist()
    keys = index["source_key"].to_pylist()
    by_kind: dict[str, list[int]] = {}
    for i in kept:
        for op in ops[i]:
            by_kind.setdefault(op["kind"], []).append(i)
    taken: list[int] = []
    turns = [_spread(places, ops) for _, places in sorted(by_kind.items())] or [iter(kept)]
    while turns and len(taken) < count:
        for turn in list(turns):
            fresh = next((i for i in turn if keys[i] not in {keys[j] for j in taken}), None)
            if fresh is None:
                turns.remove(turn)
            elif len(taken) < count:
                taken.append(fresh)
    return table_to_rows(index.take(pa.array(sorted(taken), type=pa.int64())))


def _spread(places: Sequence[int], ops: Sequence[Sequence[object]]) -> Iterator[int]:
    """First those with the fewest ops, and among them in steps that cover the run early."""
    golden = 0.6180339887  # low-discrepancy order: any first few are far apart
    order = {place: (n * golden) % 1 for n, place in enumerate(places)}
    return iter(sorted(places, key=lambda place: (len(ops[place]), order[place])))


def _pairs(planned: RunPlan, rows: Sequence[IndexRow]) -> Iterator[Pair]:
    shown = {row.chunk for row in rows}
    refs = {
        (chunk.id, ref.key): replace(chunk, samples=(ref,))
        for chunk in planned.chunks
        if chunk.id in shown
        for ref in chunk.samples
    }
    source = planned.recipe.source
    ops = [op.model_dump() for op in planned.recipe.ops]
    for row in rows:
        (encoded,) = read_chunk(refs[row.chunk, row.source_key], source)
        woven = written(planned.store, row, source)
        yield Pair(row, readable(encoded, source), readable(woven, source), ops=ops)


def written(store: Store, row: IndexRow, source: Source) -> EncodedSample:
    """A kept copy as it stands in its shard."""
    shard = row.shard or ""
    files = {
        split_name(member.name)[1]: store.read(shard, member.offset, member.size)
        for member in row.members
    }
    suffix = image_among(files, (source.labels, source.segmentation)) or ""
    return EncodedSample(
        key=row.key or "",
        image=files.get(suffix, b""),
        image_suffix=suffix,
        labels=files.get(source.labels or ""),
        segmentation=files.get(source.segmentation or ""),
        content=row.sample_id,
        shard=shard,
    )
