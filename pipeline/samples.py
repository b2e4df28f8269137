"""All samples of a source, decoded, in memory: for small data that is looked at again and again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from pipeline.codec import decode
from pipeline.source.plan import Chunk, EncodedSample, plan, read_chunk
from schemas.errors import SampleError
from schemas.recipe import Source
from schemas.sample import Sample

T = TypeVar("T")


def load_samples(source: Source, most: int | None = None) -> tuple[list[Sample], list[str]]:
    """The samples, at most so many, spread evenly over the source; and why others are not there.
    A damaged shard is a SourceError: what is small enough to be looked at can be mended.
    """
    chunks = plan(source, 4096, "samples").undamaged()
    places = [replace(chunk, samples=(ref,)) for chunk in chunks for ref in chunk.samples]
    samples: list[Sample] = []
    problems: list[str] = []
    for encoded in _read(evenly(places, most), source):
        try:
            samples.append(decode(encoded, source))
        except SampleError as error:
            problems.append(f"{encoded.key}: {error}")
    return samples, problems


def evenly(items: Sequence[T], most: int | None) -> list[T]:
    """At most so many of them, from the first to the last."""
    if most is None or len(items) <= most:
        return list(items)
    return [items[i * (len(items) - 1) // max(1, most - 1)] for i in range(most)]


def _read(places: Sequence[Chunk], source: Source) -> Iterator[EncodedSample]:
    for place in places:
        yield from read_chunk(place, source)
