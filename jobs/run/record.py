"""The record of a finished run, `runs/<run>.json`: what it was made of and what came of it.

The one place for times: the index has none, so that the same run gives the same index.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from jobs.run.counts import Counts
from jobs.run.live import Pace
from jobs.run.plan import RunPlan
from jobs.run.stages import stage_records
from jobs.run.verdict import RunVerdict
from pipeline.index.files import sink_errors
from pipeline.recipe import FullRecipe
from pipeline.sink.run_files import record_path
from pipeline.sink.turns import Spent
from pipeline.stages import stages_of
from pipeline.storage.secrets import without_secrets
from pipeline.storage.store import Store

_PACKAGES = ("noiseloom", "ray", "torch", "diffusers", "albumentations", "numpy", "pillow")


@dataclass(frozen=True)
class Cost:
    """What a run has cost: source samples that it made copies of, seconds in ops over all its
    starts, and these times the GPUs of an actor.
    """

    samples: int
    seconds: float
    gpu_seconds: float

    @classmethod
    def of(cls, planned: RunPlan, chunks: Collection[str], spent: Spent) -> Cost:
        """Of a run that has made these chunks."""
        its = [chunk for chunk in planned.chunks if chunk.id in chunks]
        samples = sum(n > 0 for chunk in its for n in chunk.copies(planned.recipe.copies))
        return cls(samples, round(spent.seconds, 3), round(spent.gpu_seconds, 3))


def spent_in(recipe: FullRecipe, stages: Sequence[float]) -> Spent:
    """What a chunk has cost that was so many seconds in each stage."""
    pools = [stage.pool for stage in stages_of(recipe)]
    gpu_seconds = sum(s * pool.gpus for s, pool in zip(stages, pools, strict=True))
    return Spent(sum(stages), gpu_seconds)


def versions() -> dict[str, str]:
    """What shapes the output besides recipe and models."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def record_exists(store: Store, run: str) -> bool:
    """Whether this run is finished altogether."""
    with sink_errors(store):
        return store.exists(record_path(run))


def counts_record(counts: Counts) -> dict[str, object]:
    """What a record says of a run's copies."""
    return {
        "attempted": counts.attempted,
        "kept": counts.kept,
        "rejected": counts.rejected,
        "failed": counts.failed,
        "reasons": {reason: n for (_, reason), n in sorted(counts.reasons.items())},
        "ops": dict(sorted(counts.ops.items())),
        "repairs": {f"{slug}.{policy}": n for (slug, policy), n in counts.repairs.items()},
    }


def write_record(
    planned: RunPlan,
    counts: Counts,
    pace: Pace,
    cost: Cost,
    mlflow_run: str | None,
    verdict: RunVerdict | None = None,
) -> None:
    """Create-only: of two processes that finish a run, the first one's times count."""
    tracking = planned.recipe.tracking
    record = {
        "run": planned.run,
        "digest": planned.digest,
        "recipe": planned.recipe.model_dump(mode="json", exclude={"tracking"}),
        "models": planned.models,
        "source": [asdict(shard) for shard in planned.shards],
        "findings": [asdict(finding) for finding in planned.findings],
        "counts": counts_record(counts),
        "verdict": None if verdict is None else verdict.model_dump(mode="json"),
        "cost": asdict(cost),
        "last_session": {"images": pace.images, "seconds": round(pace.seconds, 3)},
        "stages": stage_records(planned, pace.images, pace.stages),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "mlflow": {
            "experiment": tracking.experiment,
            "run": mlflow_run,
            "uri": None if tracking.uri is None else without_secrets(tracking.uri),
        },
        "versions": versions(),
    }
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    planned.store.create(record_path(planned.run), text.encode())
