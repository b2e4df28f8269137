"""The unit of work: consecutive samples of one shard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.source.packed import PackedSamples, copies_of
from pipeline.source.shards import SampleRef, Shard
from schemas.recipe import digest_of


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive samples of one shard. `id` covers content and recipe. Those of a plan are packed
    (`pipeline.source.packed`): whoever goes through them twice makes a tuple of them first.
    """

    shard: Shard
    ordinal: int
    samples: Sequence[SampleRef]
    id: str

    def copies(self, usual: int) -> tuple[int, ...]:
        """How many are made of each sample; `usual` is what the recipe says."""
        return tuple(usual if one is None else len(one) for one in copies_of(self.samples))

    def attempts(self, usual: int) -> int:
        """How many copies are made of all its samples."""
        return sum(self.copies(usual))


def with_copies(chunk: Chunk, copies: tuple[int, ...], usual: int) -> Chunk:
    """The chunk with so many copies of each sample. It is another chunk where they are not all as
    usual: what is committed under the old id is not this.
    """
    if all(n == usual for n in copies):
        return chunk
    samples = PackedSamples.of(chunk.samples).with_copies(tuple(range(n)) for n in copies)
    return replace(chunk, samples=samples, id=digest_of([chunk.id, list(copies)]))
