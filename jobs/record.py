"""The record of a finished run, `runs/<run>.json`: what it was made of and what came of it.

The one place for times: the index has none, so that the same run gives the same index.
"""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version

from jobs.counts import Counts
from jobs.live import Pace
from jobs.plan import RunPlan
from jobs.stage_plan import stage_records
from jobs.verdict import RunVerdict
from pipeline.index_files import sink_errors
from pipeline.store import Store

_PACKAGES = ("noiseloom", "ray", "torch", "diffusers", "albumentations", "numpy", "pillow")


def versions() -> dict[str, str]:
    """What shapes the output besides recipe and models."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def record_path(run: str) -> str:
    """Where a finished run's record is."""
    return f"runs/{run}.json"


def record_exists(store: Store, run: str) -> bool:
    """Whether this run is finished altogether."""
    with sink_errors(store):
        return store.exists(record_path(run))


def write_record(
    planned: RunPlan,
    counts: Counts,
    pace: Pace,
    mlflow_run: str | None,
    verdict: RunVerdict | None = None,
) -> None:
    """Create-only: of two processes that finish a run, the first one's times count."""
    record = {
        "run": planned.run,
        "digest": planned.digest,
        "recipe": planned.recipe.model_dump(mode="json", exclude={"tracking"}),
        "models": planned.models,
        "source": [asdict(shard) for shard in planned.shards],
        "findings": [asdict(finding) for finding in planned.findings],
        "counts": {
            "attempted": counts.attempted,
            "kept": counts.kept,
            "rejected": counts.rejected,
            "failed": counts.failed,
            "reasons": {reason: n for (_, reason), n in sorted(counts.reasons.items())},
            "ops": dict(sorted(counts.ops.items())),
            "repairs": {f"{slug}.{policy}": n for (slug, policy), n in counts.repairs.items()},
        },
        "verdict": None if verdict is None else verdict.model_dump(mode="json"),
        "last_session": {"images": pace.images, "seconds": round(pace.seconds, 3)},
        "stages": stage_records(planned, pace.images, pace.stages),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "mlflow": {"experiment": planned.recipe.tracking.experiment, "run": mlflow_run},
        "versions": versions(),
    }
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    planned.store.create(record_path(planned.run), text.encode())
