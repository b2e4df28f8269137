"""The samples of a chunk as a block of bytes: what a plan of many million samples is made of.

As objects a sample with two members takes 700 bytes, and the driver holds them all to the end of
the run; packed it takes 30. They are unpacked whenever somebody goes through them, 64 samples in
0.1 ms. How many there are, and which copies are made of each, is known without that.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import overload

from pipeline.source.shards import SampleRef
from schemas.index import Member

Numbers = tuple[int, ...]


class PackedSamples(Sequence[SampleRef]):
    """As the tuple of these samples, and equal to it. Immutable."""

    __slots__ = ("_block", "_copies", "_count")

    def __init__(self, block: bytes, count: int, copies: tuple[Numbers | None, ...] | None) -> None:
        self._block, self._count, self._copies = block, count, copies

    @classmethod
    def of(cls, samples: Sequence[SampleRef]) -> PackedSamples:
        """These samples, packed."""
        if isinstance(samples, PackedSamples):
            return samples
        plain = [[s.key, [[m.name, m.offset, m.size] for m in s.members]] for s in samples]
        block = zlib.compress(json.dumps(plain, separators=(",", ":")).encode())
        return cls(block, len(plain), _stored(sample.copies for sample in samples))

    @property
    def copies(self) -> tuple[Numbers | None, ...]:
        """`SampleRef.copies` of each sample."""
        return (None,) * self._count if self._copies is None else self._copies

    def with_copies(self, copies: Iterable[Numbers]) -> PackedSamples:
        """The same samples, with so many numbers of copies as there are samples."""
        return PackedSamples(self._block, self._count, _stored(copies))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[SampleRef]:
        plain = json.loads(zlib.decompress(self._block))
        for (key, members), copies in zip(plain, self.copies, strict=True):
            yield SampleRef(key, tuple(Member(*member) for member in members), copies)

    @overload
    def __getitem__(self, place: int) -> SampleRef: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[SampleRef, ...]: ...

    def __getitem__(self, place: int | slice) -> SampleRef | tuple[SampleRef, ...]:
        return tuple(self)[place]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PackedSamples):
            return (self._block, self._copies) == (other._block, other._copies)
        return tuple(self) == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


def copies_of(samples: Sequence[SampleRef]) -> Sequence[Numbers | None]:
    """`SampleRef.copies` of each; of packed ones without unpacking them."""
    if isinstance(samples, PackedSamples):
        return samples.copies
    return [sample.copies for sample in samples]


def _stored(copies: Iterable[Numbers | None]) -> tuple[Numbers | None, ...] | None:
    """None where the recipe says it for all."""
    some = tuple(None if one is None else _shared(one) for one in copies)
    return None if all(one is None for one in some) else some


@lru_cache(maxsize=4096)
def _shared(numbers: Numbers) -> Numbers:
    """The same object for the same numbers: most samples of a plan have the same few."""
    return numbers
