"""The copies on a contact sheet: every kind of op, whatever batches the index comes in."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from jobs.run.sheet_choice import chosen
from schemas.index import AppliedOp, IndexRow, Status, rows_to_table
from tests.pipeline.rows import row

STATUSES: tuple[Status, ...] = ("kept", "kept", "rejected", "failed")


def ops(*kinds: str) -> tuple[AppliedOp, ...]:
    return tuple(AppliedOp(f"{kind}#{n}", kind, None, None, "{}") for n, kind in enumerate(kinds))


def some_rows(seed: int, kinds: Sequence[str]) -> list[IndexRow]:
    rng = random.Random(seed)
    return [
        replace(
            row(f"k{rng.randrange(60)}", rng.choice(STATUSES), copy=number),
            ops=ops(*rng.choices(kinds, k=rng.randrange(4))) if kinds else (),
        )
        for number in range(300)
    ]


def picked(rows: Sequence[IndexRow], size: int | None = None) -> list[int]:
    return chosen(rows_to_table(rows).to_batches(max_chunksize=size), 12)


def all_at_once(rows: Sequence[IndexRow]) -> list[int]:
    """The same choice, of all rows in memory."""
    kept = [n for n, one in enumerate(rows) if one.status == "kept"]
    by_kind: dict[str, list[int]] = {}
    for n in kept:
        for op in rows[n].ops:
            by_kind.setdefault(op.kind, []).append(n)

    def spread(places: Sequence[int]) -> Iterator[int]:
        order = {place: (n * 0.6180339887) % 1 for n, place in enumerate(places)}
        return iter(sorted(places, key=lambda place: (len(rows[place].ops), order[place])))

    taken: list[int] = []
    turns = [spread(places) for _, places in sorted(by_kind.items())] or [iter(kept)]
    while turns and len(taken) < 12:
        for turn in list(turns):
            there = {rows[n].source_key for n in taken}
            fresh = next((n for n in turn if rows[n].source_key not in there), None)
            if fresh is None:
                turns.remove(turn)
            elif len(taken) < 12:
                taken.append(fresh)
    return sorted(taken)


def test_every_kind_of_op_is_shown() -> None:
    kinds = ["common"] * 40 + ["rare", "rarer", "rarer"]
    rows = [replace(row(f"k{n}"), ops=ops(kind)) for n, kind in enumerate(kinds)]
    shown = [kinds[n] for n in picked(rows)]
    assert (len(shown), shown.count("rare"), shown.count("rarer")) == (12, 1, 2)


@pytest.mark.parametrize("kinds", [(), ("a",), ("a", "b", "b", "c"), tuple("abcdefghijklmnop")])
@pytest.mark.parametrize("size", [1, 17, None])
def test_the_choice_is_that_of_all_rows_at_once(kinds: Sequence[str], size: int | None) -> None:
    for seed in range(5):
        rows = some_rows(seed, kinds)
        assert picked(rows, size) == all_at_once(rows)


def test_of_nothing_kept_nothing_is_shown() -> None:
    assert chosen([], 12) == []
    assert picked([row("a", "rejected")]) == []
