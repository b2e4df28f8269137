"""The index: one Parquet row for every attempted copy, whatever became of it.

Rows hold no times, so that the same run gives the same index file byte for byte; times are in
`runs/<run>.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import pyarrow as pa

SCHEMA_VERSION = 2

Status = Literal["kept", "rejected", "failed"]

INDEX_SCHEMA = pa.schema(
    [
        (
            "sample_id",
            pa.string(),
        ),  # digest of source content, copy and recipe: the same sample made again
        ("status", pa.string()),  # kept | rejected | failed
        ("reason", pa.string()),  # a fixed slug; null where kept
        ("detail", pa.string()),  # for a reader; null where kept
        ("quarantine", pa.string()),  # path of the tar with the source's bytes; null unless failed
        (
            "repairs",  # what the recipe's policies mended in the source's labels
            pa.list_(
                pa.struct([("slug", pa.string()), ("policy", pa.string()), ("detail", pa.string())])
            ),
        ),
        ("source_shard", pa.string()),
        ("source_key", pa.string()),
        ("source_hash", pa.string()),  # of the source members' bytes
        ("copy", pa.int32()),
        ("chunk", pa.string()),
        ("shard", pa.string()),  # path of the tar below the sink; null where nothing is stored
        ("key", pa.string()),  # WebDataset key in that tar; null where nothing is stored
        (
            "members",
            pa.list_(
                pa.struct([("name", pa.string()), ("offset", pa.int64()), ("size", pa.int64())])
            ),
        ),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("boxes", pa.list_(pa.list_(pa.float64()))),  # xyxy, pixels, half-open
        ("labels", pa.list_(pa.string())),
        (
            "ops",
            pa.list_(
                pa.struct(
                    [
                        (
                            "step",
                            pa.string(),
                        ),  # "<kind>#<position in the recipe>": names the op's random draws
                        ("kind", pa.string()),
                        ("model", pa.string()),  # digest; null for ops without a model
                        ("strength", pa.float64()),  # null for ops without one
                        ("draw", pa.string()),  # every random choice, JSON: its fields differ by op
                    ]
                )
            ),
        ),
        ("psnr", pa.float64()),  # dB, to the source; null where the geometry moved
        ("ssim", pa.float64()),
        ("scores", pa.list_(pa.struct([("gate", pa.string()), ("score", pa.float64())]))),
        ("seed", pa.int64()),
        ("run", pa.string()),
        ("recipe", pa.string()),  # digest of the part of the recipe that shapes the output
        ("schema_version", pa.int32()),
    ]
)


@dataclass(frozen=True)
class Member:
    """One file of a tar: its name, and where its bytes lie."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class AppliedOp:
    """One op that was applied, with every random choice it made."""

    step: str
    kind: str
    model: str | None
    strength: float | None
    draw: str


@dataclass(frozen=True)
class Score:
    """What one gate measured on one sample."""

    gate: str
    score: float


@dataclass(frozen=True)
class Repair:
    """One fault of a source sample's labels that a policy of the recipe mended: its slug, the
    policy, and what was there.
    """

    slug: str
    policy: str
    detail: str


@dataclass(frozen=True)
class IndexRow:
    """One attempted copy. The fields are those of INDEX_SCHEMA, in its order."""

    sample_id: str
    status: Status
    reason: str | None
    detail: str | None
    quarantine: str | None
    repairs: tuple[Repair, ...]
    source_shard: str
    source_key: str
    source_hash: str
    copy: int
    chunk: str
    shard: str | None
    key: str | None
    members: tuple[Member, ...]
    width: int | None
    height: int | None
    boxes: tuple[tuple[float, ...], ...]
    labels: tuple[str, ...]
    ops: tuple[AppliedOp, ...]
    psnr: float | None
    ssim: float | None
    scores: tuple[Score, ...]
    seed: int
    run: str
    recipe: str
    schema_version: int = SCHEMA_VERSION


def rows_to_table(rows: Sequence[IndexRow]) -> pa.Table:
    """Rows as an Arrow table of INDEX_SCHEMA, in the order given."""
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=INDEX_SCHEMA)


def table_to_rows(table: pa.Table) -> list[IndexRow]:
    """The inverse of `rows_to_table`."""
    return [_row(record) for record in table.select(INDEX_SCHEMA.names).to_pylist()]


def _row(record: dict[str, object]) -> IndexRow:
    nested = {"members": Member, "ops": AppliedOp, "scores": Score, "repairs": Repair}
    values = dict(record)
    for name, type_ in nested.items():
        values[name] = tuple(type_(**item) for item in values[name] or [])  # type: ignore[attr-defined]
    values["boxes"] = tuple(tuple(box) for box in values["boxes"] or [])  # type: ignore[attr-defined]
    values["labels"] = tuple(values["labels"] or [])  # type: ignore[arg-type]
    return IndexRow(**values)  # type: ignore[arg-type]
