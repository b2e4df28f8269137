"""More copies of samples with rare classes: `budget.rare`, repeat-factor sampling.

A class c that a share f(c) of the images holds gets the factor r(c) = max(1, √(t / f(c))), with t
from the recipe, and an image the largest factor of its classes (LVIS, Gupta et al. 2019, app. B;
Mahajan et al. 2018), `most` at most. Of 1.5 copies every other sample has one and every other two:
which, is drawn by the sample's key.

Only the labels files are read. One that cannot be read counts for nothing and its sample gets the
usual copies: it will fail. So does a sample without labels, which is an image without objects.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from pipeline.labels.files import Rules, read_names
from pipeline.seeds import rng_for
from pipeline.source.plan import Chunk, read_label_files, with_copies
from schemas.errors import SampleError
from schemas.recipe import Budget, Source

READERS: Final = 8
"""Chunks whose labels are read at once: it waits for the store."""

MOST_COPIES: Final = 1000
"""Of one sample, as many as a recipe may ask for."""

Names = tuple[str, ...] | None
"""The class of every object of a sample; None where the labels cannot be read."""


@dataclass(frozen=True)
class ClassShare:
    """One class: the images that hold it, its boxes, its factor, and the copies of these images by
    the recipe alone (`before`) and by the budget (`after`).
    """

    name: str
    images: int
    boxes: int
    factor: float
    before: int
    after: int


@dataclass(frozen=True)
class Rarity:
    """What the copies were computed from: the images counted, and the labels not readable."""

    images: int
    unreadable: int
    classes: tuple[ClassShare, ...]


def read_classes(
    chunks: Sequence[Chunk], source: Source, note: Callable[[int], None]
) -> list[list[Names]]:
    """Chunk by chunk the classes in every sample; `note` is told how many chunks are done."""
    found: list[list[Names]] = []
    packed = any(chunk.shard.packing for chunk in chunks)  # those are read front to back
    with ThreadPoolExecutor(1 if packed else READERS) as threads:
        for names in threads.map(partial(_names_in, source=source), chunks):
            found.append(names)
            note(len(found))
    return found


def with_rare_copies(
    chunks: Sequence[Chunk], names: Sequence[Sequence[Names]], copies: int, seed: int, spec: Budget
) -> tuple[list[Chunk], Rarity]:
    """The chunks with the copies that each sample gets, and what these were computed from."""
    known = [one for part in names for one in part if one is not None]
    factors = class_factors(known, spec)
    shared = [
        with_copies(chunk, _copies_in(chunk, part, factors, copies, seed), copies)
        for chunk, part in zip(chunks, names, strict=True)
    ]
    return shared, Rarity(
        images=len(known),
        unreadable=sum(one is None for part in names for one in part),
        classes=tuple(_shares(shared, names, factors, copies)),
    )


def class_factors(names: Sequence[tuple[str, ...]], spec: Budget) -> dict[str, float]:
    """The factor of every class, the rarest first."""
    images = Counter(name for one in names for name in set(one))
    rare = spec.rare or 0.0
    return {
        name: min(spec.most, max(1.0, math.sqrt(rare * len(names) / count)))
        for name, count in sorted(images.items(), key=lambda item: (item[1], item[0]))
    }


def copies_of(factor: float, copies: int, seed: int, key: str) -> int:
    """How many copies a sample of this factor gets: on average over samples `copies * factor`."""
    wanted = copies * factor
    whole = math.floor(wanted)
    drawn = rng_for(seed, key, 0, "budget").random() < wanted - whole
    return min(MOST_COPIES, whole + drawn)


def _names_in(chunk: Chunk, source: Source) -> list[Names]:
    return [_names(data, source) for data in read_label_files(chunk, source)]


def _names(data: bytes | None, source: Source) -> Names:
    try:
        return () if data is None else read_names(data, Rules(source.classes, source.repair))
    except SampleError:
        return None


def _copies_in(
    chunk: Chunk, names: Sequence[Names], factors: dict[str, float], copies: int, seed: int
) -> tuple[int, ...]:
    largest = [max((factors[name] for name in one or ()), default=1.0) for one in names]
    return tuple(
        copies_of(factor, copies, seed, sample.key)
        for sample, factor in zip(chunk.samples, largest, strict=True)
    )


def _shares(
    chunks: Sequence[Chunk],
    names: Sequence[Sequence[Names]],
    factors: dict[str, float],
    copies: int,
) -> list[ClassShare]:
    shares = {name: ClassShare(name, 0, 0, factor, 0, 0) for name, factor in factors.items()}
    for chunk, part in zip(chunks, names, strict=True):
        for one, made in zip(part, chunk.copies(copies), strict=True):
            for name, boxes in Counter(one or ()).items():
                share = shares[name]
                shares[name] = replace(
                    share,
                    images=share.images + 1,
                    boxes=share.boxes + boxes,
                    before=share.before + copies,
                    after=share.after + made,
                )
    return list(shares.values())
