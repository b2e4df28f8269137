"""Published runs without a record: a kill came between the two, and the next night is another run.

Where the source is still the same, the run itself is started again, and finishes what it left
(`jobs.run.augment`). Else nobody would: so a start writes what the plan and the index say of such
runs of its recipe. What only the killed process knew is not in it: its MLflow run, how fast it was,
the versions of its libraries.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from jobs.run.counts import count_run
from jobs.run.follow import write_follows_record
from jobs.run.plan_file import Follows
from jobs.run.record import counts_record
from pipeline.index.files import index_batches, published_runs, sink_errors
from pipeline.sink.run_files import plan_path, record_path
from pipeline.sink.turns import Spent, Turn
from pipeline.storage.store import Store


def unrecorded(store: Store, recipe: str) -> list[str]:
    """The published runs of the recipe of this name that have no record, but for those that other
    commands go on with: retries, and what `noiseloom regate` makes.
    """
    mine = re.compile(re.escape(recipe) + r"-[0-9a-f]{8}(.*-of-[0-9a-f]{8})?")
    published = published_runs(store)
    with sink_errors(store):
        there = set(store.entries("runs"))
    return [
        run
        for run in published
        if mine.fullmatch(run) and f"{run}.json" not in there and f"{run}.plan.json" in there
    ]


def record_unrecorded(store: Store, recipe: str, mine: Turn, console: Console) -> None:
    """Writes the records of these runs. Nobody else of the recipe is at work."""
    for run in unrecorded(store, recipe):
        says = f"{run}: a start that was killed had published it; now it has its record"
        console.print(says, highlight=False, soft_wrap=True)
        with sink_errors(store):
            plan: dict[str, Any] = json.loads(store.read(plan_path(run)))
        if "follows" in plan:
            write_follows_record(store, run, Follows.model_validate(plan["follows"]))
            continue
        _write(store, run, plan, mine.spent_on(run))
        mine.take_over([run])


def _write(store: Store, run: str, plan: dict[str, Any], spent: Spent) -> None:
    sources = {
        sample
        for batch in index_batches(store, run, ["chunk", "source_key"])
        for sample in zip(*(batch[n].to_pylist() for n in batch.schema.names), strict=True)
    }
    record = {
        **{name: plan[name] for name in ("run", "digest", "recipe", "models", "source")},
        "findings": plan["findings"],
        "counts": counts_record(count_run(store, run)),
        "verdict": None,
        "cost": {
            "samples": len(sources),
            "seconds": round(spent.seconds, 3),
            "gpu_seconds": round(spent.gpu_seconds, 3),
        },
        "stages": [],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "mlflow": {**plan["tracking"], "run": None},
        "versions": {},
    }
    with sink_errors(store):
        text = json.dumps(record, indent=1, sort_keys=True) + "\n"
        store.create(record_path(run), text.encode())
