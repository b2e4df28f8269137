"""A case through the real reader and decoder, and what is wrong with what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.codec import decode
from pipeline.recipe import FullRecipe
from pipeline.source import EncodedSample, ShardFinding, plan, read_chunk
from pipeline.weave import RunContext, WovenCopy, weave_chunk
from schemas.errors import SampleError
from schemas.recipe import Source
from tests.bad.building import Case
from tests.pipeline.shards import sample_files

CONTEXT = RunContext("run", "digest", "chunk")


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
        (folder / name).write_bytes(data)
    source = case.layout(tuple(str(folder / name) for name in case.shards))
    planned = plan(source, 64, "digest")
    samples = [one for chunk in planned.chunks for one in read_chunk(chunk, source)]
    failed = {}
    for one in samples:
        try:
            decode(one, source)
        except SampleError as error:
            failed[one.shard, one.key] = error.slug
    return Seen(source, tuple(samples), failed, tuple(planned.findings))


def weave(seen: Seen, recipe: FullRecipe) -> list[WovenCopy]:
    """One copy of every sample."""
    return weave_chunk(seen.samples, recipe, {}, CONTEXT)


def complaints(case: Case, seen: Seen) -> list[str]:
    """Every way in which this is not what must follow."""
    return [*_good(case, seen), *_bad(case, seen), *_found(case, seen)]


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
