"""What the shards of a source have in common: the same content, which is read once, and the same
keys, which are legal and noted.

Of the keys of all shards only a hash of 8 bytes each is held; where two are the same, the keys
themselves decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.source.chunk import Chunk
from pipeline.source.shards import Shard, ShardFinding

Hashes = NDArray[np.int64]

_NONE: Final[Hashes] = np.empty(0, np.int64)


@dataclass(frozen=True)
class CutShard:
    """A shard, cut into chunks; what is wrong with it; and the hashes of its keys, in order."""

    shard: Shard
    chunks: tuple[Chunk, ...]
    findings: tuple[ShardFinding, ...]
    hashes: Hashes

    def keys(self) -> Iterator[str]:
        """The keys themselves."""
        return (sample.key for chunk in self.chunks for sample in chunk.samples)


def hashes_of(keys: Sequence[str]) -> Hashes:
    """One for each key; others in another process."""
    return np.fromiter(map(hash, keys), np.int64, len(keys))


def without_twins(shards: Sequence[CutShard]) -> tuple[list[CutShard], list[ShardFinding]]:
    """Every content once, and all findings, also of what shards have in common."""
    contents: dict[str, str] = {}
    for one in shards:
        contents.setdefault(one.shard.content, one.shard.url)
    kept = [one for one in shards if contents[one.shard.content] == one.shard.url]
    shared = {finding.shard: finding for finding in _same_keys(kept)}
    findings: list[ShardFinding] = []
    for one in shards:
        findings += one.findings
        url, twin = one.shard.url, contents[one.shard.content]
        if twin != url:
            detail = f"the same content as {twin}, which is read instead"
            findings.append(ShardFinding(url, 0, "same_content", detail))
        elif url in shared:
            findings.append(shared[url])
    return kept, findings


def _same_keys(shards: Sequence[CutShard]) -> Iterator[ShardFinding]:
    """One for each shard with keys that one before it has too."""
    hashes = np.concatenate([_NONE, *(one.hashes for one in shards)])
    hashes.sort()
    twice = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    first: dict[str, str] = {}
    for one in shards:
        url = one.shard.url
        again = [key for key in _among(one, twice) if first.setdefault(key, url) != url]
        if again:
            detail = f"{len(again)}, the first is {again[0]!r}, also in {first[again[0]]}"
            yield ShardFinding(url, 0, "same_keys", detail)


def _among(shard: CutShard, hashes: Hashes) -> Iterator[str]:
    """The keys of a shard with one of these hashes, which are sorted."""
    if not len(hashes):
        return iter(())
    places = np.searchsorted(hashes, shard.hashes)
    hit = hashes[np.minimum(places, len(hashes) - 1)] == shard.hashes
    return compress(shard.keys(), hit) if hit.any() else iter(())
