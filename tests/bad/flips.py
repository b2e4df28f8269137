"""A good shard with something wrong in it, at a place that a seed chooses, and what became of it.

The law: every sample of the good shard comes through as it was, or fails by a slug, or was changed
in its own bytes and decodes, or a finding tells that something of the shard is missing. Nothing is
lost in silence, nothing is invented, nothing is raised, nothing hangs.
"""

from __future__ import annotations

import faulthandler
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.random import Generator

from pipeline.tars.tar import walk
from tests.bad.building import END, Case, entries
from tests.bad.packed import zipped
from tests.bad.reading import Seen, files_of, read
from tests.pipeline.shards import sample_files

KEYS: Final = tuple(f"k{n}" for n in range(5))
FILES: Final = {key: sample_files(key, 22 + n, 32 + n) for n, key in enumerate(KEYS)}
PLAIN: Final = b"".join(entries(FILES[key]) for key in KEYS) + END
HUNG: Final = 60
"""Seconds after which one of them ends the process, with a traceback."""


@dataclass(frozen=True)
class Damaged:
    """A shard after something happened to it, and which of its bytes that was."""

    data: bytes
    touched: tuple[tuple[int, int], ...]


def flip(data: bytes, rng: Generator) -> Damaged:
    """One byte is another."""
    return _overwritten(data, rng, 1)


def flips(data: bytes, rng: Generator) -> Damaged:
    """Up to thirty bytes are others."""
    return _overwritten(data, rng, int(rng.integers(2, 31)))


def bit(data: bytes, rng: Generator) -> Damaged:
    """One bit is another."""
    place = int(rng.integers(len(data)))
    changed = bytearray(data)
    changed[place] ^= 1 << int(rng.integers(8))
    return Damaged(bytes(changed), ((place, place + 1),))


def _overwritten(data: bytes, rng: Generator, many: int) -> Damaged:
    places = [int(place) for place in rng.integers(0, len(data), many)]
    changed = bytearray(data)
    for place in places:
        changed[place] ^= int(rng.integers(1, 256))
    return Damaged(bytes(changed), tuple((place, place + 1) for place in places))


def cut(data: bytes, rng: Generator) -> Damaged:
    """The end is missing."""
    place = int(rng.integers(len(data)))
    return Damaged(data[:place], ((place, len(data)),))


def blank(data: bytes, rng: Generator) -> Damaged:
    """A piece of it is zeros, as after a crash of a disk."""
    place = int(rng.integers(len(data)))
    end = min(len(data), place + int(rng.integers(1, 4096)))
    return Damaged(data[:place] + bytes(end - place) + data[end:], ((place, end),))


def swap(data: bytes, rng: Generator) -> Damaged:
    """Two blocks have changed places."""
    a, b = sorted(int(n) * 512 for n in rng.choice(len(data) // 512, 2, replace=False))
    blocks = data[a : a + 512], data[b : b + 512]
    changed = data[:a] + blocks[1] + data[a + 512 : b] + blocks[0] + data[b + 512 :]
    return Damaged(changed, ((a, a + 512), (b, b + 512)))


def put_in(data: bytes, rng: Generator) -> Damaged:
    """Some bytes too many: what follows lies at odd places."""
    place = int(rng.integers(len(data)))
    more = rng.bytes(int(rng.integers(1, 700)))
    return Damaged(data[:place] + more + data[place:], ((place, place + 1),))


def take_out(data: bytes, rng: Generator) -> Damaged:
    """Some bytes too few."""
    place = int(rng.integers(len(data)))
    end = min(len(data), place + int(rng.integers(1, 700)))
    return Damaged(data[:place] + data[end:], ((place, end),))


Accident = Callable[[bytes, Generator], Damaged]
ACCIDENTS: Final[dict[str, Accident]] = {
    accident.__name__: accident
    for accident in (flip, bit, flips, cut, blank, swap, put_in, take_out)
}
SAYS_NOTHING: Final = ("unknown_members", "same_keys")
"""Findings of shards that are as they should be."""

PACKINGS: Final = {"tar": PLAIN, "gz": zipped(PLAIN, "gz"), "zst": zipped(PLAIN, "zst")}


@dataclass(frozen=True)
class Fate:
    """What became of the samples of one damaged shard, how long it took, and what is against it."""

    packing: str
    accident: str
    became: Counter[str]
    seconds: float
    complaints: list[str]


def fuzz(number: int, seed: int, folder: Path) -> Iterator[Fate]:
    """So many accidents: two thirds to plain tars, most of them flips; the same for a seed."""
    for n in range(number):
        rng = np.random.default_rng([seed, n])
        packing = str(rng.choice(["tar", "tar", "tar", "tar", "gz", "zst"]))
        accident = str(rng.choice(["flip", "bit"] * 4 + list(ACCIDENTS)))
        yield happen(packing, accident, rng, folder)


def happen(packing: str, accident: str, rng: Generator, folder: Path) -> Fate:
    """One accident, and what a reader makes of it."""
    damaged = ACCIDENTS[accident](PACKINGS[packing], rng)
    faulthandler.dump_traceback_later(HUNG, exit=True)
    begin = time.perf_counter()
    try:
        # The shard beside it is good: a source without one sample is an error, and rightly so.
        good = entries(sample_files("good")) + END
        seen = read(Case({"a.tar": damaged.data, "b.tar": good}), folder)
    except Exception as error:  # noqa: BLE001 - that there is none is the law
        return Fate(packing, accident, Counter(), 0.0, [f"{type(error).__name__}: {error}"])
    finally:
        faulthandler.cancel_dump_traceback_later()
    seconds = time.perf_counter() - begin
    fates = {key: _fate(key, seen, damaged, packing) for key in KEYS}
    complaints = [f"{key} {fate}" for key, fate in fates.items() if fate.isupper()]
    complaints += [f"{key!r} INVENTED" for key in _invented(seen)]
    return Fate(packing, accident, Counter(fates.values()), seconds, complaints)


def _fate(key: str, seen: Seen, damaged: Damaged, packing: str) -> str:
    """In small letters where it is lawful. gzip has a checksum; zstd, as Arrow writes it, has none,
    and every sample is made of bits that others share.
    """
    mine = [one for one in seen.samples if one.key == key]
    told = any(finding.slug not in SAYS_NOTHING for finding in seen.findings)
    if not mine:
        return "found" if told else "LOST IN SILENCE"
    if len(mine) > 1:
        return "TWICE"
    if (mine[0].shard, key) in seen.failed:
        return "failed"  # also one whose bytes are there, and a second time under another's name
    if files_of(mine[0]) == [data for _, data in FILES[key]]:
        return "identical"
    lawful = {"tar": _own(key, damaged), "gz": told, "zst": True}[packing]
    return "changed" if lawful else "CHANGED BY OTHERS"


def _own(key: str, damaged: Damaged) -> bool:
    start, end = PLACES[key]
    return any(start < last and first < end for first, last in damaged.touched)


def _invented(seen: Seen) -> list[str]:
    known = {*KEYS, "good"}
    return [
        one.key
        for one in seen.samples
        if one.key not in known and (one.shard, one.key) not in seen.failed
    ]


def _places() -> dict[str, tuple[int, int]]:
    """From the first header of each sample to the end of its data."""
    members = list(walk(lambda offset, size: PLAIN[offset : offset + size], len(PLAIN)))
    mine = {key: [m for m in members if m.name.startswith(f"{key}.")] for key in KEYS}
    return {key: (m[0].offset - 512, m[-1].offset + m[-1].size) for key, m in mine.items()}


PLACES: Final = _places()
