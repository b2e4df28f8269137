"""`follow_deletions: true`: after a night, copies of samples that are gone leave what is published.

What stays and what goes is said in `pipeline.sink.deletions`. A run that loses copies is superseded
by one of its own plan and record, which any reader finds as it finds every run:

    runs/<run>.plan.json    the plan of the run it was taken from, and `follows`: which, what night
    index/_order/...        the slot that makes it the current one
    index/<run>.parquet     published, with this
    runs/<run>.json         counts, and how many copies went
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from rich.console import Console

from jobs.run.plan import RunPlan
from jobs.run.plan_file import Follows
from jobs.run.record import versions
from pipeline.index.croissant import describe
from pipeline.index.files import index_batches, sink_errors
from pipeline.sink.deletions import (
    Alive,
    Follower,
    followers,
    is_followed,
    mark_followed,
    supersede,
)
from pipeline.sink.made import known_of
from pipeline.sink.run_files import plan_path, record_path
from pipeline.sink.slots import read_slots
from pipeline.source.shards import HARMLESS
from pipeline.storage.store import Store

WHOLE: Final = HARMLESS - {"no_samples"} | {"same_content"}
"""Slugs of findings after which all of a shard's samples are known. One without any sample may be
one that is being written.
"""


def to_follow(planned: RunPlan) -> bool:
    """Whether this night is to be followed and is not yet."""
    if not planned.recipe.follow_deletions or planned.retry is not None:
        return False
    return not is_followed(read_slots(planned.store), planned.file.stem, planned.run)


def follow(planned: RunPlan, console: Console) -> None:
    """What is current is what is in the source of this night; a kill is made up for by the next."""
    if not to_follow(planned):
        return
    store, recipe = planned.store, planned.file.stem
    carried = known_of(store, planned.whole or planned.chunks)
    ids = {
        one for made in carried for sample in made.values() for one in sample.ids(planned.digest)
    }
    damaged = {finding.shard for finding in planned.findings if finding.slug not in WHOLE}
    for shard in sorted(damaged):
        says = f"{shard} is damaged: copies of its samples stay until it is whole, or gone"
        console.print(says, markup=False, highlight=False, soft_wrap=True)
    alive = Alive(planned.digest, {chunk.id for chunk in planned.chunks}, ids, damaged)
    for one in followers(store, recipe, planned.run, alive):
        if one.run != one.base:
            _write_plan(store, one, planned.run)
        supersede(store, one)
        if one.run != one.base:
            follows = Follows(run=one.origin, base=one.base, night=planned.run)
            write_follows_record(store, one.run, follows)
            gone = f"{one.lost} copies of samples that are gone are left out in {one.run}"
            console.print(f"{one.origin}: {gone}", highlight=False, soft_wrap=True)
    mark_followed(store, recipe, planned.run)


def _write_plan(store: Store, one: Follower, night: str) -> None:
    with sink_errors(store):
        plan: dict[str, object] = json.loads(store.read(plan_path(one.base)))
    plan.pop("regate", None)
    follows = Follows(run=one.origin, base=one.base, night=night).model_dump()
    _create(store, plan_path(one.run), {**plan, "run": one.run, "follows": follows})


def write_follows_record(store: Store, run: str, follows: Follows) -> None:
    """The record of a run without copies of samples that are gone; create-only."""
    status: Counter[str] = Counter()
    for batch in index_batches(store, run, ["status"]):
        status.update(batch["status"].to_pylist())
    before = sum(len(batch) for batch in index_batches(store, follows.base, ["status"]))
    describe(store, run)
    counts = {name: status[name] for name in ("kept", "rejected", "failed")}
    record = {
        "run": run,
        "follows": follows.model_dump(),
        "counts": {"attempted": status.total(), **counts},
        "gone": before - status.total(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }
    _create(store, record_path(run), record)


def _create(store: Store, path: str, record: Mapping[str, object]) -> None:
    with sink_errors(store):
        store.create(path, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())
