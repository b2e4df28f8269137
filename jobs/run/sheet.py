"""The contact sheet that a run leaves, `runs/<run>.png`: a dozen copies beside their sources.

Made from what was written, not from what was in memory. Every kind of op that was applied is on it;
the choice depends on the index alone, so that the same run leaves the same picture.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from jobs.run.plan import RunPlan
from jobs.run.sheet_choice import COLUMNS, chosen
from pipeline.index.files import index_batches, rows_at, sink_errors
from pipeline.pictures.sheet import Pair, before_after, readable
from pipeline.source.plan import EncodedSample, read_chunk
from pipeline.storage.store import Store
from schemas.index import IndexRow
from schemas.members import image_among, split_name
from schemas.recipe import Source

SHOWN: Final = 12


def sheet_path(run: str) -> str:
    """Where a run's contact sheet is."""
    return f"runs/{run}.png"


def write_sheet(planned: RunPlan, kept: int) -> bytes | None:
    """The sheet of a published run that kept so many copies, as PNG, also in the sink; None where
    nothing was kept.
    """
    store, run = planned.store, planned.run
    with sink_errors(store):
        numbers = chosen(index_batches(store, run, COLUMNS), SHOWN)
        rows = [row for _, row in sorted(rows_at(store, run, numbers).items())]
    if not rows:
        return None
    note = f"{len(rows)} of {kept} kept copies; every kind of op that was applied is shown"
    names = planned.recipe.source.seg_classes or ()
    picture = before_after(list(_pairs(planned, rows)), run, note, names)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    store.create(sheet_path(run), buffer.getvalue())
    return buffer.getvalue()


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
