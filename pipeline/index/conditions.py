"""Conditions on rows of an index, over whole batches of rows at a time: the meaning of `where`.

A mask is true, false, or null where it cannot be said (three-valued logic, as in SQL). Of columns
with several values in a row, a comparison holds where it holds for any of them, and `!=` where no
value is the one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.index.arrow_numpy import array_of, booleans, to_numpy
from schemas.index import INDEX_SCHEMA

Value = str | float

COMPARE: Final[dict[str, Callable[[pa.Array, pa.Scalar], pa.Array]]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
LISTS: Final = {"op": "ops", "model": "ops", "strength": "ops", "label": "labels"}
_FIELDS: Final = {"op": "kind", "model": "model", "strength": "strength"}
DOTTED: Final = {"score": "scores", "strength": "ops"}
SINGLE: Final = tuple(f.name for f in INDEX_SCHEMA if not pa.types.is_list(f.type))
COLUMNS: Final = (*SINGLE, *LISTS, "objects", "score.<gate>", "strength.<kind>")
"""What may be compared."""

KEPT: Final = array_of(["kept"])[0]
ZERO: Final = array_of([0.0]).cast(pa.int32())[0]
FALSE: Final = booleans(np.zeros(1, np.bool_))[0]
UNKNOWN: Final = pa.nulls(1, pa.bool_())[0]


@dataclass(frozen=True)
class Column:
    """A name in an expression: `ssim`, `op`, `score.ssim` (name `score`, part `ssim`)."""

    name: str
    part: str = ""

    @property
    def stored(self) -> str:
        """The column of the index that it is read from."""
        if self.part:
            return DOTTED[self.name]
        return "labels" if self.name == "objects" else LISTS.get(self.name, self.name)

    @property
    def textual(self) -> bool:
        """Whether its values are text, not numbers."""
        if self.name in ("op", "model", "label"):
            return True
        return self.name in SINGLE and bool(pa.types.is_string(INDEX_SCHEMA.field(self.name).type))

    def values(self, table: pa.RecordBatch) -> tuple[pa.Array, pa.Array | None]:
        """The values, and for those with several in a row the row of each."""
        column = table.column(self.stored)
        if self.name == "objects":
            return pc.coalesce(pc.list_value_length(column), ZERO), None
        if self.name in SINGLE:
            return column, None
        rows, flat = pc.list_parent_indices(column), pc.list_flatten(column)
        if self.name == "label":
            return flat, rows
        if not self.part:
            return pc.struct_field(flat, _FIELDS[self.name]), rows
        of, field = ("gate", "score") if self.name == "score" else ("kind", "strength")
        mine = pc.coalesce(pc.equal(pc.struct_field(flat, of), array_of([self.part])[0]), FALSE)
        return pc.struct_field(flat, field).filter(mine), rows.filter(mine)


@dataclass(frozen=True)
class Comparison:
    """A column held against values: one of them for a comparison, several for `in`."""

    column: Column
    sign: Literal["=", "!=", "<", "<=", ">", ">=", "in", "null"]
    against: tuple[Value, ...] = ()

    def columns(self) -> set[str]:
        """What must be read."""
        return {self.column.stored}

    def mask(self, table: pa.RecordBatch) -> pa.Array:
        """Where it holds."""
        values, rows = self.column.values(table)
        if rows is None:
            return self._holds(values, self.sign)
        there = _any(pc.is_valid(values), rows, table.num_rows)
        if self.sign == "null":
            return pc.invert(there)
        if self.sign == "!=":
            found = pc.invert(_any(self._holds(values, "="), rows, table.num_rows))
        else:
            found = _any(self._holds(values, self.sign), rows, table.num_rows)
        if self.column.part:  # not measured, not applied: nothing can be said
            return pc.if_else(there, found, UNKNOWN)
        return found

    def _holds(self, values: pa.Array, sign: str) -> pa.Array:
        if sign == "null":
            return pc.is_null(values)
        against = array_of(self.against)
        kind = against.type
        if sign == "in":
            held = pc.is_in(values.cast(kind), value_set=against)
            return pc.if_else(pc.is_valid(values), held, UNKNOWN)
        return COMPARE[sign](values.cast(kind), against[0])


@dataclass(frozen=True)
class Not:
    """The opposite; of what cannot be said, nothing can be said."""

    inner: Where

    def columns(self) -> set[str]:
        """What must be read."""
        return self.inner.columns()

    def mask(self, table: pa.RecordBatch) -> pa.Array:
        """Where it holds."""
        return pc.invert(self.inner.mask(table))


@dataclass(frozen=True)
class Joined:
    """Several, all of which must hold, or one."""

    word: Literal["and", "or"]
    parts: tuple[Where, ...]

    def columns(self) -> set[str]:
        """What must be read."""
        return set().union(*(part.columns() for part in self.parts))

    def mask(self, table: pa.RecordBatch) -> pa.Array:
        """Where it holds."""
        join = pc.and_kleene if self.word == "and" else pc.or_kleene
        first, *others = (part.mask(table) for part in self.parts)
        for other in others:
            first = join(first, other)
        return first


Where = Comparison | Not | Joined


def held(where: Where | None, table: pa.RecordBatch) -> pa.Array:
    """Kept rows where the expression holds; rows of which it cannot be said are left out."""
    kept = pc.equal(table.column("status"), KEPT)
    if where is not None:
        kept = pc.and_kleene(kept, where.mask(table))
    return pc.coalesce(kept, FALSE)


def _any(holds: pa.Array, rows: pa.Array, count: int) -> pa.Array:
    found = np.zeros(count, np.bool_)
    found[to_numpy(rows.filter(pc.coalesce(holds, FALSE)))] = True
    return booleans(found)
