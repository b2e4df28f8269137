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

from pipeline.source.chunk import Chunk, with_copies
from pipeline.source.packed import PackedSamples
from pipeline.source.patterns import expand
from pipeline.source.pick import Pick, pick_members
from pipeline.source.ranged import ForwardReader, read_members
from pipeline.source.shards import SampleRef, Shard, ShardFinding, scan_shard
from pipeline.source.twins import CutShard, hashes_of, without_twins
from pipeline.storage.store import Store, split_url
from pipeline.storage.trouble import storage_error
from pipeline.tars.unpack import read_unpacked
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
        shards = list(pool.map(lambda url: _cut(url, source, chunk_size, digest), urls))
    kept, findings = without_twins(shards)
    _check_samples(kept, findings, source)
    return SourcePlan(tuple(chunk for one in kept for chunk in one.chunks), tuple(findings))


def around(samples: Sequence[SampleRef], key: str, chunk_size: int) -> tuple[SampleRef, ...]:
    """The chunk of a shard's samples that holds this key; empty where no sample has it."""
    parts = _parts(samples, chunk_size)
    return next((part for part in parts if any(sample.key == key for sample in part)), ())


def read_chunk(chunk: Chunk, source: Source) -> list[EncodedSample]:
    """The bytes of a chunk's samples, in order; SourceError where the shard has changed."""
    shard, samples = chunk.shard, tuple(chunk.samples)
    picks = [pick_members(sample, source) for sample in samples]
    data = _read(shard, [m for pick in picks for m in pick.members.values()])
    encoded = (_encoded(pick, data, shard.url) for pick in picks)
    return [
        replace(item, copies=sample.copies) for item, sample in zip(encoded, samples, strict=True)
    ]


def read_label_files(chunk: Chunk, source: Source) -> list[bytes | None]:
    """The labels files of a chunk's samples, None where there is none to read; nothing else."""
    members = [pick_members(sample, source).labels_member for sample in chunk.samples]
    data = _read(chunk.shard, [member for member in members if member is not None])
    return [None if member is None else data[member] for member in members]


def _cut(url: str, source: Source, chunk_size: int, digest: str) -> CutShard:
    """One shard: scanned, cut and packed at once, so that a plan never holds its samples as objects
    but for those of a few shards.
    """
    scan = scan_shard(url, source)
    parts = _parts(scan.samples, chunk_size)
    chunks = tuple(_chunk(scan.shard, *part, digest) for part in enumerate(parts))
    hashes = hashes_of([sample.key for sample in scan.samples])
    return CutShard(scan.shard, chunks, scan.findings, hashes)


def _chunk(shard: Shard, ordinal: int, samples: Sequence[SampleRef], digest: str) -> Chunk:
    keys = [sample.key for sample in samples]
    chunk_id = digest_of([shard.content, ordinal, keys, digest])
    return Chunk(shard, ordinal, PackedSamples.of(samples), chunk_id)


def _parts(samples: Sequence[SampleRef], chunk_size: int) -> Iterator[tuple[SampleRef, ...]]:
    """Consecutive samples: at most so many, and so many bytes as fit into memory."""
    part: list[SampleRef] = []
    total = 0
    for sample in samples:
        size = sum([member.size for member in sample.members])
        if part and (len(part) == chunk_size or total + size > MAX_CHUNK):
            yield tuple(part)
            part, total = [], 0
        part.append(sample)
        total += size
    if part:
        yield tuple(part)


def _check_samples(
    kept: Sequence[CutShard], findings: Sequence[ShardFinding], source: Source
) -> None:
    """A source without one sample, or without one image, is a mistake and no run."""
    full = [one for one in kept if one.chunks]
    bare = {f.shard for f in findings if f.slug == "no_images"}
    if any(one.shard.url not in bare for one in full):
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
