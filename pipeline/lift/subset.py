"""The labelled subset: which images of the data a seed draws, and their bytes.

Drawn by seed over the keys and contents of the source alone, so that every arm of a seed has the
same images. An image that cannot be used is passed over, and the next of the draw is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.codec import decode
from pipeline.seeds import rng_for
from pipeline.source import Chunk, EncodedSample, plan, read_chunk
from schemas.errors import SampleError, SourceError
from schemas.recipe import Source, digest_of
from schemas.sample import Sample


@dataclass(frozen=True)
class Pool:
    """All samples of a source, by their places. `content` names what they hold."""

    source: Source
    places: tuple[Chunk, ...]

    @property
    def content(self) -> str:
        """A digest of the shards' contents and the layout."""
        shards = sorted({place.shard.content for place in self.places})
        return digest_of([shards, self.source.model_dump(mode="json", exclude={"shards"})])

    def samples(self) -> Iterator[Sample]:
        """Every sample that can be used, one after the other."""
        for place in self.places:
            found = _sample(place, self.source)
            if found is not None:
                yield found[1]


@dataclass(frozen=True)
class Drawn:
    """The labelled images of one seed, as bytes and decoded."""

    encoded: tuple[EncodedSample, ...]
    samples: tuple[Sample, ...]

    @property
    def contents(self) -> frozenset[str]:
        """The digests of their source bytes, as the index writes them."""
        return frozenset(one.content for one in self.encoded)


def pool_of(source: Source) -> Pool:
    """The places of all samples; SourceError where a shard is missing or damaged."""
    chunks = plan(source, 4096, "lift").undamaged()
    places = [replace(chunk, samples=(ref,)) for chunk in chunks for ref in chunk.samples]
    return Pool(source, tuple(places))


def drawn(pool: Pool, images: int, seed: int) -> Drawn:
    """So many labelled images; SourceError where there are not that many that can be used."""
    order: Sequence[int] = rng_for(seed, "subset", 0, "lift").permutation(len(pool.places)).tolist()
    taken: list[tuple[EncodedSample, Sample]] = []
    for i in order:
        found = _sample(pool.places[i], pool.source)
        if found is not None:
            taken.append(found)
        if len(taken) == images:
            return Drawn(tuple(e for e, _ in taken), tuple(s for _, s in taken))
    raise SourceError(
        f"images: {images} are asked for, and {', '.join(pool.source.shards)} has {len(taken)} "
        "that can be used"
    )


def _sample(place: Chunk, source: Source) -> tuple[EncodedSample, Sample] | None:
    (encoded,) = read_chunk(place, source)
    try:
        sample = decode(encoded, source)
    except SampleError:
        return None  # the run that makes shards of it says why; here it is merely not drawn
    return None if sample.deep else (encoded, sample)
