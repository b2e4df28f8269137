"""What became of a run's copies, counted from its index."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass

import pyarrow as pa

from jobs.plan import RunPlan
from pipeline.slots import owners, read_slots
from schemas.errors import RunError


@dataclass(frozen=True)
class Counts:
    """Copies by status, by status and reason, and by op; median likeness to the source. `repairs`
    are of the source: objects mended by slug and policy, each once, whatever became of its copies.
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


def counts_of(index: pa.Table) -> Counts:
    """The counts of these rows."""
    status = Counter(index["status"].to_pylist())
    pairs = zip(index["status"].to_pylist(), index["reason"].to_pylist(), strict=True)
    return Counts(
        attempted=len(index),
        kept=status["kept"],
        rejected=status["rejected"],
        failed=status["failed"],
        reasons=dict(Counter((of, reason) for of, reason in pairs if reason is not None)),
        ops=dict(Counter(op["kind"] for ops in index["ops"].to_pylist() for op in ops)),
        psnr=_median(index["psnr"]),
        ssim=_median(index["ssim"]),
        repairs=_repairs(index),
    )


def check_conserved(planned: RunPlan, index: pa.Table) -> None:
    """Every chunk of the run has a row for each of its copies, or is published by another run; and
    nothing else is there.
    """
    found = Counter(index["chunk"].to_pylist())
    owner = owners(read_slots(planned.store))
    for chunk in planned.chunks:
        expected = chunk.attempts(planned.recipe.copies)
        there = found.pop(chunk.id, 0)
        if there != expected and (there or owner.get(chunk.id, planned.run) == planned.run):
            raise RunError(f"chunk {chunk.id}: {there} rows, expected {expected}")
    if found:
        raise RunError(f"{planned.run}: rows of chunks that are not planned: {', '.join(found)}")


def _repairs(index: pa.Table) -> dict[tuple[str, str], int]:
    columns = (index[name].to_pylist() for name in ("source_shard", "source_key", "repairs"))
    sources = {(shard, key): repairs for shard, key, repairs in zip(*columns, strict=True)}
    found = Counter(
        (repair["slug"], repair["policy"]) for repairs in sources.values() for repair in repairs
    )
    return dict(sorted(found.items()))


def _median(column: pa.ChunkedArray) -> float | None:
    values = column.drop_null().to_pylist()
    return float(statistics.median(values)) if values else None


def counted(number: int, noun: str) -> str:
    """`1 chunk`, `2 chunks`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
