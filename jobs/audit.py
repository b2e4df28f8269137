"""What `noiseloom verify` checks without making anything again: the index against all it names.

Every check yields findings and goes on: one damaged shard does not hide another. Slugs:

    unreadable_index, no_plan, no_record          a run's own files
    chunk_incomplete, chunk_missing, chunk_unplanned, counts_differ, copy_twice    conservation
    shard_missing, shard_changed, shard_damaged   a tar, by the hash in its name and its headers
    member_misplaced, member_unclaimed            where the bytes lie
    not_decodable, size_differs, labels_differ, box_outside, row_inconsistent      a sample
    unreferenced_shard, run_unfinished            notes: what a killed or a running job leaves
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from jobs.record import record_path
from pipeline.codec import decode
from pipeline.geometry import overhang
from pipeline.recipe import FullRecipe
from pipeline.sink import shard_path
from pipeline.source import EncodedSample
from pipeline.store import Store
from pipeline.tar import TarError, walk
from schemas.errors import SampleError
from schemas.index import IndexRow, Member
from schemas.members import image_among
from schemas.recipe import Source

NOTES: Final = frozenset({"unreferenced_shard", "run_unfinished"})

FileT = TypeVar("FileT", bound=BaseModel)


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be: where, a fixed slug, and what exactly."""

    where: str
    slug: str
    detail: str

    @property
    def harmless(self) -> bool:
        """Whether nothing that is published is touched by it."""
        return self.slug in NOTES


class PlannedChunk(BaseModel):
    """One chunk in a plan file."""

    id: str
    samples: int
    copies: tuple[int, ...] | None = None

    def attempts(self, copies: int) -> int:
        """How many copies were planned; `copies` is the recipe's."""
        return self.samples * copies if self.copies is None else sum(self.copies)


class PlanFile(BaseModel):
    """What is needed of `runs/<run>.plan.json`."""

    digest: str
    recipe: FullRecipe
    models: dict[str, str]
    chunks: tuple[PlannedChunk, ...]


class StatusCounts(BaseModel):
    """Copies by what became of them."""

    attempted: int
    kept: int
    rejected: int
    failed: int


class RecordFile(BaseModel):
    """What is needed of `runs/<run>.json`."""

    counts: StatusCounts
    versions: dict[str, str] = {}


@dataclass(frozen=True)
class Run:
    """One run in a sink, as far as it can be read."""

    name: str
    published: bool
    rows: tuple[IndexRow, ...]
    plan: PlanFile | None
    record: RecordFile | None


def read_run_file(store: Store, path: str, model: type[FileT]) -> FileT | None:
    """A JSON file below `runs/`; None where it is missing or is something else."""
    try:
        return model.model_validate(json.loads(store.read(path)))
    except (OSError, ValueError, ValidationError):
        return None


def check_run(run: Run, published_chunks: frozenset[str]) -> Iterator[Finding]:
    """Conservation: the rows of a run against its plan and its record."""
    if run.plan is None:
        yield Finding(run.name, "no_plan", f"runs/{run.name}.plan.json cannot be read")
    else:
        yield from _check_chunks(run, run.plan, published_chunks)
    seen = Counter((row.chunk, row.source_key, row.copy) for row in run.rows)
    for (chunk, key, copy), times in seen.items():
        if times > 1:
            yield Finding(f"{run.name}: {key}", "copy_twice", f"copy {copy}, chunk {chunk}")
    if not run.published:
        yield Finding(run.name, "run_unfinished", "not published; start it again to go on")
    elif run.record is None:
        yield Finding(run.name, "no_record", f"{record_path(run.name)}: start the run again")
    elif (counts := status_counts(run.rows)) != run.record.counts:
        detail = f"the index has {_told(counts)}; the record {_told(run.record.counts)}"
        yield Finding(run.name, "counts_differ", detail)


def status_counts(rows: Sequence[IndexRow]) -> StatusCounts:
    """Copies by status."""
    count = Counter(row.status for row in rows)
    return StatusCounts(
        attempted=len(rows), kept=count["kept"], rejected=count["rejected"], failed=count["failed"]
    )


def _told(counts: StatusCounts) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.model_dump().items())


def _check_chunks(run: Run, plan: PlanFile, published: frozenset[str]) -> Iterator[Finding]:
    found = Counter(row.chunk for row in run.rows)
    for chunk in plan.chunks:
        rows, expected = found.pop(chunk.id, None), chunk.attempts(plan.recipe.copies)
        if rows is None and chunk.id not in published and run.published:
            yield Finding(f"{run.name}: {chunk.id}", "chunk_missing", "planned, and in no run")
        elif rows not in (None, expected):
            detail = f"{rows} rows for {chunk.samples} samples, expected {expected}"
            yield Finding(f"{run.name}: {chunk.id}", "chunk_incomplete", detail)
    for chunk_id, rows in found.items():
        yield Finding(f"{run.name}: {chunk_id}", "chunk_unplanned", f"{rows} rows")


def check_shard(
    store: Store, path: str, rows: Sequence[IndexRow], layout: Source | None
) -> Iterator[Finding]:
    """One tar against the rows that say they lie in it. `layout` is how its run reads a sample."""
    try:
        data = store.read(path)
    except OSError as error:
        yield Finding(path, "shard_missing", str(error))
        return
    if shard_path(rows[0].chunk, data) != path:
        yield Finding(path, "shard_changed", "its content is not that of the hash in its name")
    yield from _check_places(path, data, rows)
    for row in rows:
        if layout is not None:
            yield from _check_sample(row, data, layout)


def _check_places(path: str, data: bytes, rows: Sequence[IndexRow]) -> Iterator[Finding]:
    try:
        there = set(walk(lambda offset, size: data[offset : offset + size], len(data)))
    except TarError as error:
        yield Finding(path, "shard_damaged", str(error))
        return
    claimed = {member for row in rows for member in row.members}
    for member in sorted(claimed - there, key=lambda m: m.offset):
        yield Finding(path, "member_misplaced", f"not there: {_place(member)}")
    for member in sorted(there - claimed, key=lambda m: m.offset):
        yield Finding(path, "member_unclaimed", f"in no row: {_place(member)}")


def _place(member: Member) -> str:
    return f"{member.name}, {member.size} bytes at {member.offset}"


def encoded_from(row: IndexRow, data: bytes, layout: Source) -> EncodedSample:
    """A kept sample's members out of its tar, as source samples are read."""
    files = {
        member.name.removeprefix(f"{row.key}."): data[member.offset :][: member.size]
        for member in row.members
    }
    image = image_among(files, (layout.labels, layout.segmentation)) or ""
    return EncodedSample(
        key=row.key or "",
        image=files.get(image, b""),
        image_suffix=image,
        labels=files.get(layout.labels or ""),
        segmentation=files.get(layout.segmentation or ""),
        content="",
        shard=row.shard or "",
    )


def _check_sample(row: IndexRow, data: bytes, layout: Source) -> Iterator[Finding]:
    where = f"{row.shard}: {row.key}"
    if any(not member.name.startswith(f"{row.key}.") for member in row.members):
        yield Finding(where, "row_inconsistent", "its members are not named after its key")
        return
    try:
        sample = decode(encoded_from(row, data, layout), layout)
    except SampleError as error:
        yield Finding(where, "not_decodable", str(error))
        return
    if (sample.width, sample.height) != (row.width, row.height):
        detail = f"{sample.width}x{sample.height}, the row says {row.width}x{row.height}"
        yield Finding(where, "size_differs", detail)
    boxes_n4 = np.array(row.boxes, dtype=np.float64).reshape(-1, 4)
    outside = overhang(boxes_n4, sample.height, sample.width)
    if outside.any():
        i = int(outside.argmax())
        yield Finding(where, "box_outside", f"box {i}: {row.boxes[i]}")
    same_boxes = np.array_equal(boxes_n4, sample.objects.boxes_n4)
    if not same_boxes or row.labels != sample.objects.labels:
        detail = f"{len(sample.objects)} objects in the file, {len(row.labels)} in the row"
        yield Finding(where, "labels_differ", detail)
