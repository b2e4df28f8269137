"""What became of a run's copies, counted from its index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.run.plan import RunPlan
from pipeline.index.files import fold_rows
from pipeline.sink.slots import owners, read_slots
from pipeline.storage.store import Store
from schemas.errors import RunError

FloatArray = NDArray[np.float64]

COLUMNS: Final = (
    "status",
    "reason",
    "chunk",
    "source_shard",
    "source_key",
    "repairs",
    "ops.list.element.kind",  # its draws are most of an index
    "psnr",
    "ssim",
)


@dataclass(frozen=True)
class Counts:
    """Copies by status, by status and reason, and by op; median likeness to the source. `repairs`
    are of the source: objects mended by slug and policy, each once, whatever became of its copies.
    `chunks`: the rows of each.
    """

    attempted: int
    kept: int
    rejected: int
    failed: int
    reasons: dict[tuple[str, str], int]
    ops: dict[str, int]
    psnr: float | None
    ssim: float | None
    repairs: dict[tuple[str, str], int]
    chunks: dict[str, int]

    def reasons_text(self, status: str) -> str:
        """The commonest reasons of this status, with their counts."""
        found = sorted((-n, reason) for (of, reason), n in self.reasons.items() if of == status)
        return ", ".join(f"{reason} {-n}" for n, reason in found[:4])

    def repairs_text(self) -> str:
        """What was mended, with counts."""
        return ", ".join(f"{slug} {policy} {n}" for (slug, policy), n in self.repairs.items())

    def figures(self) -> dict[str, float]:
        """The numbers that are tracked."""
        figures: dict[str, float] = {
            "attempted": self.attempted,
            **{f"reason.{reason}": n for (_, reason), n in self.reasons.items()},
            **{f"op.{kind}": n for kind, n in self.ops.items()},
            **{f"repair.{slug}.{policy}": n for (slug, policy), n in self.repairs.items()},
        }
        likeness = {"psnr_median": self.psnr, "ssim_median": self.ssim}
        return figures | {name: value for name, value in likeness.items() if value is not None}


def counts_of(batches: Iterable[pa.RecordBatch]) -> Counts:
    """The counts of these rows, of which the columns COLUMNS are needed. Those of a chunk stand
    together. Of each row only its likeness is held.
    """
    status, ops, chunks = Counter[str](), Counter[str](), Counter[str]()
    reasons, repairs = Counter[tuple[str, str]](), _Repairs()
    likeness: dict[str, list[FloatArray]] = {"psnr": [], "ssim": []}
    for batch in batches:
        status += _by_value(batch["status"])
        chunks += _by_value(batch["chunk"])
        ops += _by_value(pc.struct_field(pc.list_flatten(batch["ops"]), "kind"))
        told = batch.filter(pc.is_valid(batch["reason"]))
        reasons.update(zip(told["status"].to_pylist(), told["reason"].to_pylist(), strict=True))
        repairs.add(batch)
        for name, parts in likeness.items():
            parts.append(batch[name].drop_null().to_numpy())
    return Counts(
        attempted=status.total(),
        kept=status["kept"],
        rejected=status["rejected"],
        failed=status["failed"],
        reasons=dict(reasons),
        ops=dict(ops),
        psnr=_median(likeness["psnr"]),
        ssim=_median(likeness["ssim"]),
        repairs=dict(sorted(repairs.found.items())),
        chunks=dict(chunks),
    )


def count_run(store: Store, run: str) -> Counts:
    """Of a run as far as it is committed."""
    return fold_rows(store, run, COLUMNS, counts_of)


def check_conserved(planned: RunPlan, counts: Counts) -> None:
    """Every chunk of the run has a row for each of its copies, or is published by another run; and
    nothing else is there.
    """
    found = dict(counts.chunks)
    owner = owners(read_slots(planned.store))
    for chunk in planned.chunks:
        expected = chunk.attempts(planned.recipe.copies)
        there = found.pop(chunk.id, 0)
        if there != expected and (there or owner.get(chunk.id, planned.run) == planned.run):
            raise RunError(f"chunk {chunk.id}: {there} rows, expected {expected}")
    if found:
        raise RunError(f"{planned.run}: rows of chunks that are not planned: {', '.join(found)}")


class _Repairs:
    """Those of each source sample, once: its copies are in the same chunk."""

    def __init__(self) -> None:
        self.found = Counter[tuple[str, str]]()
        self._chunk = ""
        self._seen = set[tuple[str, str]]()

    def add(self, batch: pa.RecordBatch) -> None:
        its = batch.filter(pc.greater(pc.list_value_length(batch["repairs"]), 0))
        names = ("chunk", "source_shard", "source_key", "repairs")
        for chunk, shard, key, repairs in zip(*(its[n].to_pylist() for n in names), strict=True):
            if chunk != self._chunk:
                self._chunk, self._seen = chunk, set()
            if (shard, key) not in self._seen:
                self._seen.add((shard, key))
                self.found.update((repair["slug"], repair["policy"]) for repair in repairs)


def _by_value(column: pa.Array) -> Counter[str]:
    return Counter({one["values"]: one["counts"] for one in column.value_counts().to_pylist()})


def _median(parts: Sequence[FloatArray]) -> float | None:
    values = np.concatenate([np.empty(0), *parts])
    return float(np.median(values, overwrite_input=True)) if len(values) else None


def counted(number: int, noun: str) -> str:
    """`1 chunk`, `2 chunks`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
