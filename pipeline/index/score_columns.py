"""The column `scores` of the index, taken apart: names and numbers in arrays, for a million rows.

A score is called `<kind of gate>.<score>`. Where two gates of one kind measured the same, a row
holds it twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.sample import FloatArray


@dataclass(frozen=True, eq=False)
class ScoreColumn:
    """The scores of n rows, m in all: row i has those from `start[i]` to `start[i + 1]`.

    `names` are the different ones, `name_m` their numbers.
    """

    start: NDArray[np.int64]
    names: tuple[str, ...]
    name_m: NDArray[np.int64]
    score_m: FloatArray

    @property
    def row_m(self) -> NDArray[np.int64]:
        """The row of every score."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))

    def of_gate(self, i: int, kind: str) -> dict[str, float]:
        """What gates of this kind measured in row i, by the names that they gave it."""
        prefix = f"{kind}."
        places = range(int(self.start[i]), int(self.start[i + 1]))
        named = ((self.names[self.name_m[place]], place) for place in places)
        return {
            name.removeprefix(prefix): float(self.score_m[place])
            for name, place in named
            if name.startswith(prefix)
        }

    def aligned(self, name: str) -> FloatArray:
        """One score for every row; NaN where a row does not have it."""
        values_n = np.full(len(self.start) - 1, np.nan)
        its = self.name_m == self.names.index(name)
        values_n[self.row_m[its]] = self.score_m[its]
        return values_n


def score_column(scores: pa.ListArray) -> ScoreColumn:
    """The column of a batch of rows."""
    counts = np.asarray(pc.fill_null(pc.list_value_length(scores), 0), np.int64)
    flat = pc.list_flatten(scores)
    named = pc.struct_field(flat, "gate").dictionary_encode()
    return ScoreColumn(
        start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        names=tuple(named.dictionary.to_pylist()),
        name_m=np.asarray(named.indices, np.int64),
        score_m=np.asarray(pc.struct_field(flat, "score"), np.float64),
    )


def names_in(column: ScoreColumn) -> dict[str, tuple[int, bool]]:
    """Of every score, in how many rows it is, and whether no row holds two that differ."""
    found = {}
    for number, name in enumerate(column.names):
        its = column.name_m == number
        rows, scores = column.row_m[its], column.score_m[its]
        again = rows[1:] == rows[:-1]
        clear = not (again & (scores[1:] != scores[:-1])).any()
        found[name] = len(rows) - int(again.sum()), bool(clear)
    return found
