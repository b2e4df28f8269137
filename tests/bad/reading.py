"""A case through the real reader and decoder, and what is wrong with what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from pipeline.chain.weave import RunContext, weave_chunk
from pipeline.codec import decode
from pipeline.recipe import FullRecipe
from pipeline.source.plan import EncodedSample, ShardFinding, plan, read_chunk
from schemas.errors import SampleError
from schemas.recipe import Source
from tests.bad.building import GOOD, Case
from tests.pipeline.shards import sample_files

LITTLE = 2**24
CONTEXT = RunContext("run", "digest", "chunk")
FLIP = {"kind": "classic", "transforms": [{"HorizontalFlip": {"p": 1.0}}]}


@dataclass(frozen=True)
class Seen:
    """What a reader makes of a case: the samples as they were read, in order, and the slugs of
    those that do not decode.
    """

    source: Source
    samples: tuple[EncodedSample, ...]
    failed: dict[tuple[str, str], str]
    findings: tuple[ShardFinding, ...]

    def came(self) -> list[EncodedSample]:
        """Those that decode."""
        return [one for one in self.samples if (one.shard, one.key) not in self.failed]


def read(case: Case, folder: Path) -> Seen:
    """Writes the shards, plans, reads and decodes them."""
    for name, data in case.shards.items():
        with (folder / name).open("wb") as file:
            for part in (data,) if isinstance(data, bytes) else data:
                write(file, part)
            file.truncate()
    source = case.layout(tuple(str(folder / name) for name in case.shards))
    planned = plan(source, 64, "digest")
    samples: list[EncodedSample] = []
    failed, kept = {}, 0
    for one in (one for chunk in planned.chunks for one in read_chunk(chunk, source)):
        try:
            decode(one, source)
        except SampleError as error:
            failed[one.shard, one.key] = error.slug
        # A run writes each before it reads the next: no more than a little is kept here either.
        large = len(one.image) > LITTLE // 100
        kept += len(one.image)
        samples.append(replace(one, image=b"") if large and kept > LITTLE else one)
    return Seen(source, tuple(samples), failed, tuple(planned.findings))


def write(file: BinaryIO, part: bytes | int) -> None:
    """Some bytes, or a hole of so many."""
    if isinstance(part, int):
        file.seek(part, 1)
    else:
        file.write(part)


def complaints(case: Case, seen: Seen) -> list[str]:
    """Every way in which this is not what must follow."""
    return [*_good(case, seen), *_bad(case, seen), *_found(case, seen)]


def unrecorded(seen: Seen) -> list[str]:
    """Every way in which the rows of a run do not tell of the odd samples and of a good one."""
    recipe = FullRecipe.model_validate({"source": seen.source, "sink": "out", "ops": [FLIP]})
    samples = [one for one in seen.samples if one.key not in GOOD[1:]]
    rows = [copy.row for copy in weave_chunk(samples, recipe, {}, CONTEXT)]
    told = [(row.source_shard, row.source_key, row.status, row.reason) for row in rows]
    expected = []
    for one in samples:
        slug = seen.failed.get((one.shard, one.key))
        expected.append((one.shard, one.key, "failed" if slug else "kept", slug))
    return [
        f"row {row}, expected {other}"
        for row, other in zip(told, expected, strict=True)
        if row != other
    ]


def _good(case: Case, seen: Seen) -> Iterator[str]:
    came = seen.came()
    for key in case.good:
        mine = [one for one in came if one.key == key]
        if len(mine) != 1:
            yield f"{key} came through {len(mine)} times"
        elif files_of(mine[0]) != original(key):
            yield f"{key} came through changed"


def files_of(one: EncodedSample) -> list[bytes | None]:
    """The members as they were read."""
    return [one.image, one.labels, one.segmentation]


def original(key: str) -> list[bytes]:
    """The members of a good sample as they were written."""
    return [data for _, data in sample_files(key, width=32 + int(key[1:]))]


def _bad(case: Case, seen: Seen) -> Iterator[str]:
    slugs = {key: slug for (_, key), slug in seen.failed.items()}
    came = {one.key for one in seen.came()}
    for key, expected in case.failed.items():
        if slugs.get(key) not in expected:
            yield f"{key}: {slugs.get(key, 'came through' if key in came else 'lost')}, {expected}"
    for key in case.legal:
        if key not in came:
            yield f"{key}: {slugs.get(key, 'lost')}, though it is legal"
    known = {*case.good, *case.failed, *case.legal, *case.either}
    for key in sorted({one.key for one in seen.samples} - known):
        yield f"{key!r} came from nowhere"


def _found(case: Case, seen: Seen) -> Iterator[str]:
    found = [finding.slug for finding in seen.findings]
    if not case.findings and found:
        yield f"{found} found where nothing is"
    if case.findings and not set(case.findings).intersection(found):
        told = [one for one in case.either if (one in {key for _, key in seen.failed})]
        if not told:
            yield f"{found} found, expected one of {case.findings}"
    for finding in seen.findings:
        if not finding.detail or "\n" in finding.detail or not finding.detail.isprintable():
            yield f"{finding}: no detail for a reader"
