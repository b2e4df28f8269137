"""Source shards: which there are, their samples in chunks, and the bytes of a chunk.

Three steps. `plan` turns the recipe's patterns into URLs, scans these shards (see `shards.py`) and
cuts their samples into chunks: by number, and by bytes, so that a chunk fits into memory whatever
the shards hold. `read_chunk` fetches the members of one chunk: one ranged read where they lie
together; a packed shard is unpacked up to them.

What is wrong with a shard is a finding in the plan. A SourceError is one that is missing, cannot be
reached, or is no longer what the plan names; and a source without one sample. What is wrong with
one sample (see `pick.py`) is left in its `problem`, and fails that sample alone when it is decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from pipeline.patterns import expand
from pipeline.pick import Pick, pick_members
from pipeline.ranged import ForwardReader, read_members
from pipeline.shards import SampleRef, Scan, Shard, ShardFinding, scan_shard
from pipeline.store import Store, split_url
from pipeline.trouble import storage_error
from pipeline.unpack import read_unpacked
from schemas.errors import SourceError
from schemas.index import Member
from schemas.recipe import Source, digest_of

__all__ = [
    "Chunk",
    "EncodedSample",
    "SampleRef",
    "Shard",
    "ShardFinding",
    "SourcePlan",
    "around",
    "expand_shards",
    "plan",
    "read_chunk",
    "read_label_files",
    "scan_shard",
    "with_copies",
]

MAX_CHUNK: Final = 128 * 1024 * 1024
"""Bytes of a chunk's members, beyond its first sample: a few copies of it fit into memory."""

SCANNERS: Final = 8


@dataclass(frozen=True)
class Chunk:
    """Consecutive samples of one shard: the unit of work. `id` covers content and recipe."""

    shard: Shard
    ordinal: int
    samples: tuple[SampleRef, ...]
    id: str

    def copies(self, usual: int) -> tuple[int, ...]:
        """How many are made of each sample; `usual` is what the recipe says."""
        return tuple(usual if one.copies is None else len(one.copies) for one in self.samples)

    def attempts(self, usual: int) -> int:
        """How many copies are made of all its samples."""
        return sum(self.copies(usual))


@dataclass(frozen=True)
class EncodedSample:
    """One sample as bytes. `problem` is (slug, detail) of what the shard already shows wrong;
    `copies` the numbers of those that are made of it, where not the recipe says how many.
    """

    key: str
    image: bytes
    image_suffix: str
    labels: bytes | None
    segmentation: bytes | None
    content: str
    shard: str
    problem: tuple[str, str] | None = None
    copies: tuple[int, ...] | None = None


@dataclass(frozen=True)
class SourcePlan:
    """All chunks of a source, and what is wrong with its shards."""

    chunks: tuple[Chunk, ...]
    findings: tuple[ShardFinding, ...] = ()

    def undamaged(self) -> tuple[Chunk, ...]:
        """The chunks, where whoever asks wants all samples or none; SourceError otherwise."""
        for finding in self.findings:
            if not finding.harmless:
                raise SourceError(f"{finding}; leave the shard out, or mend it")
        return self.chunks


def expand_shards(patterns: Sequence[str]) -> list[str]:
    """The URLs that the patterns name, each once; SourceError names one that matches nothing."""
    urls: dict[str, None] = {}
    for pattern in patterns:
        try:
            found = expand(pattern)
        except (OSError, ValueError) as error:
            raise SourceError(f"shards: {pattern!r}: {error}") from error
        if not found:
            raise SourceError(f"shards: {pattern!r} matches no file")
        urls |= dict.fromkeys(found)
    return list(urls)


def plan(source: Source, chunk_size: int, digest: str) -> SourcePlan:
    """All chunks of all shards, in the order of the recipe. `digest` is the recipe's."""
    urls = expand_shards(source.shards)
    with ThreadPoolExecutor(SCANNERS) as pool:
        scans = list(pool.map(lambda url: scan_shard(url, source), urls))
    kept, findings = _without_twins(scans)
    chunks = tuple(
        chunk for scan in kept for chunk in _chunks(scan.shard, scan.samples, chunk_size, digest)
    )
    _check_samples(kept, findings, source)
    return SourcePlan(chunks, tuple(findings))


def around(samples: Sequence[SampleRef], key: str, chunk_size: int) -> tuple[SampleRef, ...]:
    """The chunk of a shard's samples that holds this key; empty where no sample has it."""
    parts = _parts(samples, chunk_size)
    return next((part for part in parts if any(sample.key == key for sample in part)), ())


def read_chunk(chunk: Chunk, source: Source) -> list[EncodedSample]:
    """The bytes of a chunk's samples, in order; SourceError where the shard has changed."""
    shard = chunk.shard
    picks = [pick_members(sample, source) for sample in chunk.samples]
    data = _read(shard, [m for pick in picks for m in pick.members.values()])
    encoded = (_encoded(pick, data, shard.url) for pick in picks)
    return [
        replace(item, copies=sample.copies)
        for item, sample in zip(encoded, chunk.samples, strict=True)
    ]


def read_label_files(chunk: Chunk, source: Source) -> list[bytes | None]:
    """The labels files of a chunk's samples, None where there is none to read; nothing else."""
    members = [pick_members(sample, source).labels_member for sample in chunk.samples]
    data = _read(chunk.shard, [member for member in members if member is not None])
    return [None if member is None else data[member] for member in members]


def with_copies(chunk: Chunk, copies: tuple[int, ...], usual: int) -> Chunk:
    """The chunk with so many copies of each sample. It is another chunk where they are not all as
    usual: what is committed under the old id is not this.
    """
    if all(n == usual for n in copies):
        return chunk
    samples = zip(chunk.samples, copies, strict=True)
    return replace(
        chunk,
        samples=tuple(replace(sample, copies=tuple(range(n))) for sample, n in samples),
        id=digest_of([chunk.id, list(copies)]),
    )


def _chunks(
    shard: Shard, samples: Sequence[SampleRef], chunk_size: int, digest: str
) -> Iterator[Chunk]:
    for ordinal, part in enumerate(_parts(samples, chunk_size)):
        keys = [sample.key for sample in part]
        yield Chunk(shard, ordinal, part, digest_of([shard.content, ordinal, keys, digest]))


def _parts(samples: Sequence[SampleRef], chunk_size: int) -> Iterator[tuple[SampleRef, ...]]:
    """Consecutive samples: at most so many, and so many bytes as fit into memory."""
    part: list[SampleRef] = []
    total = 0
    for sample in samples:
        size = sum(member.size for member in sample.members)
        if part and (len(part) == chunk_size or total + size > MAX_CHUNK):
            yield tuple(part)
            part, total = [], 0
        part.append(sample)
        total += size
    if part:
        yield tuple(part)


def _without_twins(scans: Sequence[Scan]) -> tuple[list[Scan], list[ShardFinding]]:
    """Every content once, and all findings, also of what shards have in common."""
    contents: dict[str, str] = {}
    keys: dict[str, str] = {}
    kept: list[Scan] = []
    findings: list[ShardFinding] = []
    for scan in scans:
        url = scan.shard.url
        findings += scan.findings
        twin = contents.setdefault(scan.shard.content, url)
        if twin != url:
            detail = f"the same content as {twin}, which is read instead"
            findings.append(ShardFinding(url, 0, "same_content", detail))
            continue
        kept.append(scan)
        again = [sample.key for sample in scan.samples if sample.key in keys]
        if again:
            detail = f"{len(again)}, the first is {again[0]!r}, also in {keys[again[0]]}"
            findings.append(ShardFinding(url, 0, "same_keys", detail))
        for sample in scan.samples:
            keys.setdefault(sample.key, url)
    return kept, findings


def _check_samples(kept: Sequence[Scan], findings: Sequence[ShardFinding], source: Source) -> None:
    """A source without one sample, or without one image, is a mistake and no run."""
    full = [scan for scan in kept if scan.samples]
    bare = {f.shard for f in findings if f.slug == "no_images"}
    if any(scan.shard.url not in bare for scan in full):
        return
    said = "".join(f"\n  {finding}" for finding in findings[:5])
    what = "no image" if full else "not one sample"
    raise SourceError(f"source.shards: there is {what} in {', '.join(source.shards)}{said}")


def _read(shard: Shard, members: Sequence[Member]) -> dict[Member, bytes]:
    """The bytes of these members; SourceError where the shard cannot be read, or has changed."""
    folder, name = split_url(shard.url)
    store = Store(folder)
    try:
        if shard.packing:
            _check_unchanged(store, name, shard)
            data = read_unpacked(store, name, shard.size, shard.version, shard.packing, members)
        else:
            data = read_members(store, name, members)
        _check_unchanged(store, name, shard)
    except FileNotFoundError as error:
        raise SourceError(f"{shard.url}: is gone since the run was planned") from error
    except OSError as error:
        raise storage_error(error, f"{shard.url}: cannot be read", SourceError) from error
    return data


def _encoded(pick: Pick, data: dict[Member, bytes], url: str) -> EncodedSample:
    hashed = hashlib.blake2b(digest_size=16)
    found = {suffix: data[member] for suffix, member in pick.members.items()}
    hashed.update(b"" if found else pick.key.encode())
    for suffix, part in found.items():
        hashed.update(f"{suffix}\0{len(part)}\0".encode())
        hashed.update(part)
    return EncodedSample(
        key=pick.key,
        image=found.get(pick.image or "", b""),
        image_suffix=pick.image or "",
        labels=found.get(pick.labels or ""),
        segmentation=found.get(pick.segmentation or ""),
        content=hashed.hexdigest(),
        shard=url,
        problem=pick.problem,
    )


def _check_unchanged(store: Store, name: str, shard: Shard) -> None:
    """After the reading, so that what was read is what was planned."""
    stat = store.stat(name)
    if (stat.size, stat.version) == (shard.size, shard.version):
        return
    # A local copy on another machine has other times: its bytes decide, hashed once per process.
    same_size = stat.size == shard.size and store.local is not None
    if same_size and _hash_file(store, name, stat.size, stat.version) == shard.content:
        return
    raise SourceError(f"{shard.url}: has changed since the run was planned; start the run again")


@lru_cache(maxsize=1024)
def _hash_file(store: Store, name: str, size: int, version: str) -> str:
    return ForwardReader(store, name, size).digest()
