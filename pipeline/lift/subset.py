"""The labelled subset: which images of the data a seed draws, and their bytes.

Drawn by seed over the places of the source alone, so that every arm of a seed has the same images.
An image that cannot be used is passed over, and the next of the draw is taken; so is one that a
published run of the test has not had.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.codec import decode
from pipeline.seeds import rng_for
from pipeline.source.plan import Chunk, EncodedSample, plan, read_chunk
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
    def contents(self) -> tuple[str, ...]:
        """The digests of their source bytes, as the index writes them, in the order drawn."""
        return tuple(one.content for one in self.encoded)


def pool_of(source: Source) -> Pool:
    """The places of all samples; SourceError where a shard is missing or damaged."""
    chunks = plan(source, 4096, "lift").undamaged()
    places = [replace(chunk, samples=(ref,)) for chunk in chunks for ref in chunk.samples]
    return Pool(source, tuple(places))


def drawn(pool: Pool, images: int, seed: int, among: Container[str] | None = None) -> Drawn:
    """So many labelled images, of those contents if they are named; SourceError where there are not
    that many that can be used.
    """
    order: Sequence[int] = rng_for(seed, "subset", 0, "lift").permutation(len(pool.places)).tolist()
    taken: list[tuple[EncodedSample, Sample]] = []
    for i in order:
        found = _sample(pool.places[i], pool.source, among)
        if found is not None:
            taken.append(found)
        if len(taken) == images:
            return Drawn(tuple(e for e, _ in taken), tuple(s for _, s in taken))
    raise SourceError(
        f"images: {images} are asked for, and {', '.join(pool.source.shards)} has {len(taken)} "
        + ("that can be used" if among is None else "that the tested run has made copies of")
    )


def _sample(
    place: Chunk, source: Source, among: Container[str] | None = None
) -> tuple[EncodedSample, Sample] | None:
    (encoded,) = read_chunk(place, source)
    if among is not None and encoded.content not in among:
        return None
    try:
        sample = decode(encoded, source)
    except SampleError:
        return None  # the run that makes shards of it says why; here it is merely not drawn
    return None if sample.deep else (encoded, sample)
