"""Which copies of a run are on its contact sheet: kept ones, the kinds of op in turn.

Gone through is the whole index, a row group at a time. Held are a few rows for each kind of op: the
first of as many source samples as the sheet has places, for more can never be asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

COLUMNS: Final = ("status", "source_key", "ops.list.element.kind")

GOLDEN: Final = 0.6180339887
"""Steps of so much, without whole numbers, cover the run early: any first few are far apart."""

Numbers = NDArray[np.int64]


def chosen(batches: Iterable[pa.RecordBatch], count: int) -> list[int]:
    """The numbers of at most so many rows, of different source samples, in order. The choice
    depends on the index alone, not on its batches.
    """
    kinds: dict[str, _Kind] = defaultdict(lambda: _Kind(count))
    plain, start = _Kind(count), 0
    for batch in batches:
        kept = np.flatnonzero(pc.equal(batch["status"], "kept"))
        keys = _Keys(batch["source_key"], start)
        plain.take(kept + start, np.zeros_like(kept), (kept + start).astype(float), keys)
        ops = batch["ops"].take(pa.array(kept))
        lengths = pc.list_value_length(ops).to_numpy(zero_copy_only=False)
        of_op = np.repeat(np.arange(len(kept)), lengths)
        names = pc.struct_field(pc.list_flatten(ops), "kind")
        for kind in names.unique().to_pylist():
            rows = of_op[np.asarray(pc.equal(names, kind))]
            kinds[kind].spread(kept[rows] + start, lengths[rows], keys)
        start += len(batch)
    turns = [iter(kind.best) for _, kind in sorted(kinds.items())] or [iter(plain.best)]
    return sorted(_in_turn(turns, count).values())


def _in_turn(turns: list[Iterator[_Row]], count: int) -> dict[str, int]:
    """The number of a row for each key."""
    taken: dict[str, int] = {}
    while turns and len(taken) < count:
        for turn in list(turns):
            fresh = next((row for row in turn if row.key not in taken), None)
            if fresh is None:
                turns.remove(turn)
            elif len(taken) < count:
                taken[fresh.key] = fresh.number
    return taken


@dataclass(frozen=True, order=True)
class _Row:
    """Its place among those of a kind, its number, and its source sample's key."""

    ops: int
    place: float
    number: int
    key: str


@dataclass(frozen=True)
class _Keys:
    """Of the rows from `start` on."""

    column: pa.StringArray
    start: int

    def of(self, number: int) -> str:
        return str(self.column[number - self.start])


@dataclass
class _Kind:
    """The first rows of `most` source samples: those with the fewest ops, and among them spread
    over the run.
    """

    most: int
    best: list[_Row] = field(default_factory=list)
    _seen: int = 0

    def spread(self, numbers: Numbers, ops: Numbers, keys: _Keys) -> None:
        """Some more rows, in order; one that took this kind of op twice is there twice."""
        places = np.arange(self._seen, self._seen + len(numbers), dtype=np.float64) * GOLDEN % 1
        self._seen += len(numbers)
        last = np.append(numbers[1:] != numbers[:-1], True) if len(numbers) else slice(0)
        self.take(numbers[last], ops[last], places[last], keys)

    def take(
        self, numbers: Numbers, ops: Numbers, places: NDArray[np.float64], keys: _Keys
    ) -> None:
        """Some more rows, with the number of their ops and their places."""
        order = np.lexsort((places, ops))
        fresh = (
            _Row(int(ops[i]), float(places[i]), int(numbers[i]), keys.of(int(numbers[i])))
            for i in order
        )
        first: dict[str, _Row] = {}
        for row in merge(self.best, fresh):
            first.setdefault(row.key, row)
            if len(first) == self.most:
                break
        self.best = list(first.values())
