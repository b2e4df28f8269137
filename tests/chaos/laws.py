"""What has to hold after whatever happened, once the run is done: the laws of issue 4.

    the published index and every tar are, byte for byte, those of the undisturbed run
    every attempted copy has exactly one row over all published runs
    nothing partial was ever visible to a reader, and nothing published has changed
    `noiseloom gc`, then `noiseloom verify`: green; and nothing is left that the undisturbed run
    has not

Copies are known by `sample_id`, a digest of source content, copy and recipe.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow.parquet as pq

from tests.chaos.reader import Reader, View, is_published_index

TIMED: Final = ("runs/",)
"""Files that hold times or are drawn from them: there has to be the same number, nothing more."""

Row = Mapping[str, object]


@dataclass(frozen=True)
class Published:
    """What a sink holds for its readers."""

    indexes: Mapping[str, bytes]
    tars: Mapping[str, bytes]
    names: tuple[str, ...]

    def rows(self) -> list[Row]:
        """All rows of all published runs."""
        return [row for data in self.indexes.values() for row in rows_in(data)]


@dataclass(frozen=True)
class Verdict:
    """How far the laws hold. `wrong` is empty where they all do."""

    lost: int = 0
    doubled: int = 0
    partial: int = 0
    wrong: tuple[str, ...] = ()

    @property
    def green(self) -> bool:
        """No law is broken."""
        return not (self.lost or self.doubled or self.partial or self.wrong)


@dataclass(frozen=True)
class Terms:
    """How a scenario's result may differ from the undisturbed run's.

    `same_bytes`: whether pictures are the same to the bit; batches of another size are not (float
    sums in another order). `excused`: slugs with which copies may have failed (a killer sample).
    `same_runs`: whether the index files are the same ones; two runs that share a sink divide the
    rows between them.
    """

    excused: Collection[str] = ()
    same_runs: bool = True
    same_bytes: bool = True
    extra_files: Collection[str] = ()


def rows_in(data: bytes) -> list[Row]:
    """The rows of an index file."""
    rows: list[Row] = pq.read_table(io.BytesIO(data)).to_pylist()
    return rows


def published(view: View) -> Published:
    """Everything in a sink that counts: indexes, and the tars that they name."""
    names = view.names()
    indexes = {name: view.read(name) for name in names if is_published_index(name)}
    named = {str(row["shard"]) for data in indexes.values() for row in rows_in(data)} - {"None"}
    there = named & set(names)
    return Published(indexes, {name: view.read(name) for name in sorted(there)}, tuple(names))


def judge(found: Published, undisturbed: Published, reader: Reader, terms: Terms) -> Verdict:
    """The laws, but for those that the commands look after (`verify`)."""
    rows, expected = found.rows(), undisturbed.rows()
    seen = Counter(str(row["sample_id"]) for row in rows)
    wanted = {str(row["sample_id"]) for row in expected}
    wrong = [f"a copy that nobody asked for: {one}" for one in sorted(set(seen) - wanted)]
    wrong += _unequal_rows(rows, expected, terms)
    if terms.same_bytes and not terms.excused:
        wrong += _unequal("tar", found.tars, undisturbed.tars)
        if terms.same_runs:
            wrong += _unequal("index", found.indexes, undisturbed.indexes)
    wrong += [
        f"{name} was published and is gone" for name in reader.published.keys() - found.indexes
    ]
    wrong += [
        f"{name} is not what readers saw first"
        for name, data in reader.published.items()
        if name in found.indexes and found.indexes[name] != data
    ]
    return Verdict(
        lost=len(wanted - set(seen)),
        doubled=sum(times - 1 for times in seen.values()),
        partial=len(reader.partial),
        wrong=(*wrong, *reader.partial),
    )


def left_over(found: Sequence[str], undisturbed: Sequence[str], terms: Terms) -> list[str]:
    """Files that the undisturbed run has not left, after `gc`."""
    if not (terms.same_runs and terms.same_bytes) or terms.excused:
        passing = ("index/_pending/", "attempts/", "tracking/")
        extra = {name for name in found if name.startswith(passing)}
        missing: set[str] = set()
    else:
        extra = set(found) - set(undisturbed) - set(terms.extra_files)
        missing = set(undisturbed) - set(found)
    left = [f"left over: {name}" for name in sorted(extra)]
    return left + [f"not there: {name}" for name in sorted(missing)]


def _unequal_rows(rows: Sequence[Row], expected: Sequence[Row], terms: Terms) -> list[str]:
    """Rows of the same copy that say something else, but for the run that made them."""
    by_id = {str(row["sample_id"]): row for row in expected}
    wrong: list[str] = []
    for row in rows:
        other = by_id.get(str(row["sample_id"]))
        if other is None or _excused(row, terms):
            continue
        passed_over = {"run"}
        if terms.excused or not terms.same_bytes:
            passed_over |= {"shard", "members", "quarantine"}
        if not terms.same_bytes:
            passed_over |= {"psnr", "ssim", "scores"}
        differing = [k for k in other if k not in passed_over and other[k] != row[k]]
        if differing:
            wrong.append(f"{row['source_key']} copy {row['copy']}: other {', '.join(differing)}")
    return wrong


def _excused(row: Row, terms: Terms) -> bool:
    return row["status"] == "failed" and row["reason"] in terms.excused


def _unequal(what: str, found: Mapping[str, bytes], expected: Mapping[str, bytes]) -> list[str]:
    missing = [f"{what} {name} is missing" for name in sorted(expected.keys() - found.keys())]
    extra = [f"{what} {name} was not expected" for name in sorted(found.keys() - expected.keys())]
    shared = sorted(expected.keys() & found.keys())
    other = [f"{what} {name}: other bytes" for name in shared if expected[name] != found[name]]
    return [*missing, *extra, *other]
