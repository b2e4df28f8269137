"""How the scores of published runs are spread: over all copies, per class, per op, per verdict.

Read are a few columns of the index, a row group at a time; held are eight bytes for every score of
every copy and four for every class of it, so that a million rows fit into some hundred megabytes.
Failed copies have no scores. A copy counts for each class that its labels name, and for each kind
of op that was applied to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.index.files import index_batches
from pipeline.index.score_columns import score_column
from pipeline.storage.store import Store
from schemas.sample import FloatArray

COLUMNS: Final = ("status", "reason", "detail", "shard", "labels", "ops", "scores")

Numbers = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Spread:
    """The copies of some runs, n in all, in the order of the runs and of their index.

    `scores`: by name, one number for each copy, NaN where it has none. `classes`, `ops`: by name,
    the numbers of the copies. `kept_n`, `stored_n`: whether it is kept, and whether its bytes are
    stored. `reasons`: what was not kept, by status, reason and, of a rejected copy, the gate.
    `begins`: where each run begins.
    """

    scores: Mapping[str, FloatArray]
    classes: Mapping[str, Numbers]
    ops: Mapping[str, Numbers]
    kept_n: NDArray[np.bool_]
    stored_n: NDArray[np.bool_]
    statuses: Mapping[str, int]
    reasons: Mapping[tuple[str, str, str], int]
    begins: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.kept_n)

    def groups(self) -> Iterator[tuple[str, Numbers]]:
        """Op kinds, then classes, the commonest first."""
        for what, found in (("op", self.ops), ("class", self.classes)):
            for name, numbers in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
                yield f"{what} {name}", numbers


@dataclass(frozen=True)
class Threshold:
    """One value of a score that copies have, and the shares of those with a score that are at least
    and at most this.
    """

    value: float
    at_least: float
    at_most: float


def spread_of(store: Store, runs: Sequence[str]) -> Spread:
    """Everything about the scores in these published runs."""
    scores: dict[str, list[tuple[int, FloatArray]]] = {}
    groups: dict[str, dict[str, list[Numbers]]] = {"labels": {}, "ops": {}}
    flags: list[NDArray[np.bool_]] = []
    statuses: Counter[str] = Counter()
    reasons: Counter[tuple[str, str, str]] = Counter()
    begins, n = dict.fromkeys(runs, 0), 0
    for run in runs:
        begins[run] = n
        for batch in index_batches(store, run, COLUMNS):
            column = score_column(batch.column("scores"))
            for name in column.names:
                scores.setdefault(name, []).append((n, column.aligned(name)))
            flat = {"labels": batch.column("labels"), "ops": _kinds(batch.column("ops"))}
            for what, lists in flat.items():
                for name, rows in _members(lists).items():
                    groups[what].setdefault(name, []).append((rows + n).astype(np.int32))
            status, shard = batch.column("status"), batch.column("shard")
            flags.append(np.stack([_true(pc.equal(status, "kept")), _true(pc.is_valid(shard))]))
            statuses.update(status.to_pylist())
            lost = batch.filter(pc.is_valid(batch.column("reason")))
            names = (lost.column(name).to_pylist() for name in ("status", "reason", "detail"))
            for of, reason, gate in zip(*names, strict=True):
                reasons[of, reason, (gate or "") if of == "rejected" else ""] += 1
            n += len(batch)
    kept_n, stored_n = np.concatenate([np.zeros((2, 0), np.bool_), *flags], axis=1)
    joined = {
        what: {name: np.concatenate(parts) for name, parts in found.items()}
        for what, found in groups.items()
    }
    return Spread(
        scores={name: _placed(parts, n) for name, parts in sorted(scores.items())},
        classes=joined["labels"],
        ops=joined["ops"],
        kept_n=kept_n,
        stored_n=stored_n,
        statuses=statuses,
        reasons=reasons,
        begins=begins,
    )


@dataclass(frozen=True)
class Line:
    """One score among some copies: how many have it, its quantiles, a histogram."""

    name: str
    count: int
    quantiles: tuple[float, ...]
    bars: tuple[int, ...]


def lines_of(spread: Spread, name: str, shares: Sequence[float], bins: int) -> list[Line]:
    """One score among all copies, the kept and the rejected ones, per op, and per class; where none
    has it, no line. All histograms have the same borders.
    """
    values_n = spread.scores[name]
    edges = edges_of(values_n[~np.isnan(values_n)], bins)
    lines = []
    for group, numbers in parts_of(spread):
        values = values_n[numbers]
        values = values[~np.isnan(values)]
        if len(values):
            quantiles = tuple(float(q) for q in np.quantile(values, shares))
            lines.append(Line(group, len(values), quantiles, tuple(histogram(values, edges))))
    return lines


def parts_of(spread: Spread) -> Iterator[tuple[str, NDArray[np.intp] | Numbers]]:
    """What a score is told of: a name, and the numbers of the copies."""
    yield "all", np.arange(len(spread))
    yield "kept", np.flatnonzero(spread.kept_n)
    yield "rejected", np.flatnonzero(~spread.kept_n)
    yield from spread.groups()


def thresholds(values: FloatArray, shares: Sequence[float]) -> list[Threshold]:
    """The values at these quantiles, each once, and what they would keep. No NaN among `values`."""
    ordered = np.sort(values)
    if not len(ordered):
        return []
    at = np.unique(np.quantile(ordered, shares, method="inverted_cdf"))
    below, upto = (np.searchsorted(ordered, at, side=side) for side in ("left", "right"))
    return [
        Threshold(float(value), 1 - int(low) / len(ordered), int(high) / len(ordered))
        for value, low, high in zip(at, below, upto, strict=True)
    ]


def edges_of(values: FloatArray, bins: int) -> FloatArray:
    """The borders of a histogram's bins, between the 0.5 % and the 99.5 % quantile."""
    low, high = np.quantile(values, (0.005, 0.995))
    return np.linspace(low, high if high > low else low + 1e-9, bins + 1)


def histogram(values: FloatArray, edges: FloatArray) -> list[int]:
    """How many values are in each bin; those outside are in the first and the last."""
    inside = np.clip(values, edges[0], edges[-1])
    return [int(n) for n in np.histogram(inside, edges)[0]]


def at_quantiles(values_n: FloatArray, among_n: NDArray[np.bool_], count: int) -> list[int]:
    """The numbers of at most `count` different copies, from the lowest score to the highest, evenly
    over those of `among_n` that have one.
    """
    its = np.flatnonzero(among_n & ~np.isnan(values_n))
    if not len(its):
        return []
    ordered = its[np.argsort(values_n[its], kind="stable")]
    places = np.unique(np.round(np.linspace(0, len(ordered) - 1, count)).astype(int))
    return [int(i) for i in ordered[places]]


def _placed(parts: Sequence[tuple[int, FloatArray]], n: int) -> FloatArray:
    values_n = np.full(n, np.nan)
    for start, values in parts:
        values_n[start : start + len(values)] = values
    return values_n


def _kinds(ops: pa.ListArray) -> pa.ListArray:
    """The kinds of the ops of every row."""
    counts = np.asarray(pc.fill_null(pc.list_value_length(ops), 0), np.int32)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, pc.struct_field(pc.list_flatten(ops), "kind"))


def _members(lists: pa.ListArray) -> dict[str, NDArray[np.int64]]:
    """For each text in these lists the rows that hold it, each once."""
    parents = np.asarray(pc.list_parent_indices(lists), np.int64)
    coded = pc.list_flatten(lists).dictionary_encode()
    pairs = np.unique(np.asarray(coded.indices, np.int64) * max(1, len(lists)) + parents)
    codes, rows = np.divmod(pairs, max(1, len(lists)))
    borders = np.searchsorted(codes, np.arange(len(coded.dictionary) + 1))
    names = coded.dictionary.to_pylist()
    return {name: rows[borders[i] : borders[i + 1]] for i, name in enumerate(names)}


def _true(mask: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(mask.to_numpy(zero_copy_only=False), np.bool_)
