"""Laws of how scores are told: counts, quantiles and shares are those of the rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.index.files import index_file, published_path, rows_at
from pipeline.index.spread import Spread, Threshold, at_quantiles, lines_of, spread_of, thresholds
from pipeline.storage.store import Store
from schemas.index import AppliedOp, IndexRow, Score, rows_to_table
from tests.pipeline.rows import row

FLIP, FADE = (
    AppliedOp("flip#0", "flip", None, None, "{}"),
    AppliedOp("fade#1", "fade", None, 0, "{}"),
)


def rows_of(run: str) -> list[IndexRow]:
    """Ten copies with scores 0 to 9; the last three are rejected, the even ones faded; and one
    that failed.
    """
    made = []
    for n in range(10):
        one = row(f"{run}{n}", "kept" if n < 7 else "rejected", run=run)
        ops = (FLIP, FADE, FADE) if n % 2 == 0 else ()
        labels = ("cell", "cell", "dot") if n < 4 else ("cell",)
        made.append(replace(one, scores=(Score("g.x", float(n)),), ops=ops, labels=labels))
    return [*made, replace(row("bad", "failed", run=run), scores=(), labels=(), ops=())]


@pytest.fixture(scope="module")
def store() -> Store:
    store = Store("memory://spread")
    for run in ("r1", "r2"):
        store.create(published_path(run), index_file([rows_to_table(rows_of(run))]))
    return store


@pytest.fixture(scope="module")
def spread(store: Store) -> Spread:
    return spread_of(store, ["r1", "r2"])


def test_a_copy_counts_once_for_each_of_its_classes_and_ops(spread: Spread) -> None:
    lines = {line.name: line for line in lines_of(spread, "g.x", (0, 0.5, 1), 4)}
    counts = {name: line.count for name, line in lines.items()}
    assert counts == {
        "all": 20, "kept": 14, "rejected": 6, "op flip": 10, "op fade": 10, "class cell": 20,
        "class dot": 8,
    }  # fmt: skip
    assert lines["all"].quantiles == (0.0, 4.5, 9.0)
    assert lines["class dot"].quantiles == (0.0, 1.5, 3.0)
    assert all(sum(line.bars) == line.count for line in lines.values())
    assert spread.statuses == {"kept": 14, "rejected": 6, "failed": 2}
    assert spread.reasons["rejected", "too_small", "3 px"] == 6


def test_a_threshold_keeps_what_is_on_its_side() -> None:
    values = np.array([1.0, 2.0, 2.0, 4.0])
    assert thresholds(values, (0, 0.5, 1)) == [
        Threshold(1.0, 1.0, 0.25),
        Threshold(2.0, 0.75, 0.75),
        Threshold(4.0, 0.25, 1.0),
    ]
    assert thresholds(values[:0], (0.5,)) == []


def test_pictures_are_chosen_from_the_lowest_to_the_highest_score(spread: Spread) -> None:
    values_n = spread.scores["g.x"]
    chosen = at_quantiles(values_n, spread.kept_n, 4)
    assert [values_n[i] for i in chosen] == [0, 2, 4, 6]
    assert at_quantiles(values_n, spread.kept_n, 99) != []
    assert at_quantiles(values_n, np.zeros(len(spread), np.bool_), 4) == []


def test_single_rows_are_found_by_their_number(store: Store) -> None:
    found = rows_at(store, "r2", [9, 0, 9])
    assert {number: row.source_key for number, row in found.items()} == {0: "r20", 9: "r29"}
