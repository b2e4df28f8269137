"""What `noiseloom verify` checks of the tars: each against the rows that name it. Slugs:

shard_missing, shard_changed, shard_damaged   a tar, by the hash in its name and its headers
member_misplaced, member_unclaimed            where the bytes lie
not_decodable, size_differs, labels_differ, box_outside, row_inconsistent      a sample
quarantine_missing, quarantine_changed, quarantine_damaged    a tar of failed source samples
not_quarantined                               a failed copy whose source is in none
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from jobs.verify.audit import Finding
from pipeline.codec import decode
from pipeline.labels.geometry import overhang
from pipeline.sink.commit import REJECTED, SHARDS, shard_path
from pipeline.sink.quarantine import ERROR, quarantine_path
from pipeline.source.plan import EncodedSample
from pipeline.storage.store import Store
from pipeline.tars.tar import TarError, walk
from schemas.errors import SampleError
from schemas.index import IndexRow, Member
from schemas.members import image_among
from schemas.recipe import Source


def check_shard(
    store: Store, path: str, rows: Sequence[IndexRow], layout: Source | None
) -> Iterator[Finding]:
    """One tar against the rows that say they lie in it. `layout` is how its run reads a sample."""
    try:
        data = store.read(path)
    except OSError as error:
        yield Finding(path, "shard_missing", str(error))
        return
    folder = REJECTED if path.startswith(f"{REJECTED}/") else SHARDS
    if shard_path(rows[0].chunk, data, folder) != path:
        yield Finding(path, "shard_changed", "its content is not that of the hash in its name")
    yield from _check_places(path, data, rows)
    for row in _different(rows):
        if layout is not None:
            yield from _check_sample(row, data, layout)


def _different(rows: Sequence[IndexRow]) -> list[IndexRow]:
    """One row for each sample: a regated run has the rows of its origin with other verdicts."""
    plain = [replace(row, run="", status="kept", reason=None, detail=None) for row in rows]
    return list(dict(zip(plain, rows, strict=True)).values())


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
    """A stored sample's members out of its tar, as source samples are read."""
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


def check_quarantine(store: Store, path: str, rows: Sequence[IndexRow]) -> Iterator[Finding]:
    """One quarantine tar against the failed rows that say their sources lie in it."""
    try:
        data = store.read(path)
    except OSError as error:
        yield Finding(path, "quarantine_missing", str(error))
        return
    if quarantine_path(rows[0].chunk, data) != path:
        yield Finding(path, "quarantine_changed", "its content is not that of the hash in its name")
    try:
        names = {m.name for m in walk(lambda at, size: data[at : at + size], len(data))}
    except TarError as error:
        yield Finding(path, "quarantine_damaged", str(error))
        return
    for key in sorted({row.source_key for row in rows}):
        if f"{key}.{ERROR}" not in names:
            yield Finding(f"{path}: {key}", "not_quarantined", f"no member {key}.{ERROR}")


def check_quarantined(rows: Sequence[IndexRow]) -> Iterator[Finding]:
    """Failed rows must name a quarantine tar."""
    for row in rows:
        if row.status == "failed" and row.quarantine is None:
            where = f"{row.run}: {row.source_key}"
            yield Finding(where, "not_quarantined", f"copy {row.copy} failed: {row.reason}")
