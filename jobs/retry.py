"""`noiseloom retry SINK [RUN]`: makes again what failed, and nothing else.

After an op, a model or this program was repaired, or a machine has more memory. Of the published
runs, or the one named, it takes the failed copies that no later retry has settled, from the
quarantine tars of their chunks: the sources need not be there any more. Recipe, seed and models are
those of the run (the models are compared by their digests), and so the draws and the sample ids are
those of the failed rows.

It is a run of its own, `<run>-retry-1`, then `-2`: with plan, record, pictures and MLflow,
published like any other, and started again by the same command after a kill. A copy that fails
again has a row again, and is taken by the next retry; so the budget for failures does not apply. Of
samples of which no byte could be read there is nothing to retry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from jobs.run.augment import augment_plan
from jobs.run.plan import Retry, RunPlan
from jobs.run.plan_file import PlanFile
from jobs.run.record import record_exists
from pipeline.index.files import (
    index_batches,
    published_runs,
    read_index,
    sink_errors,
    sink_there,
)
from pipeline.model import ModelCard
from pipeline.model_check import check_models, digests
from pipeline.recipe import FullRecipe
from pipeline.sink.publication import current_runs
from pipeline.sink.quarantine import path_in_sink
from pipeline.sink.run_files import plan_path, run_file_if_sound
from pipeline.source.plan import Chunk, scan_shard
from pipeline.storage.store import Store
from schemas.errors import ModelError, SinkError
from schemas.index import IndexRow, table_to_rows
from schemas.recipe import Budget, digest_of

_Copy = tuple[str, str, int]
"""A failed copy: the quarantine tar that holds its source, the key there, the copy's number."""

NO_BUDGET: Final = Budget(failed=1)


@dataclass(frozen=True)
class _Family:
    """A published run with its retries, by number."""

    name: str
    plan: PlanFile
    retries: Mapping[int, str]


def retry(sink: str, run: str | None, console: Console) -> None:
    """Starts, or resumes, the retry of every run that has something to retry."""
    nothing = True
    for planned in retries(sink_there(sink), run, console):
        augment_plan(planned, console)
        nothing = False
    if nothing:
        console.print(f"{run or sink}: nothing to retry", soft_wrap=True, highlight=False)


def retries(store: Store, run: str | None, console: Console) -> Iterator[RunPlan]:
    """The plans of the retries that are under way or due."""
    for family in _families(store, run):
        planned = _plan_retry(store, family, console)
        if planned is not None:
            yield planned


def _families(store: Store, run: str | None) -> Iterator[_Family]:
    """All published runs that are no retries, or the one that is named, also by its retry. What
    `noiseloom regate` made, or `follow_deletions`, has failed copies that are its origin's.
    """
    names = published_runs(store)
    if run is not None and run not in names:
        there = ", ".join(names) or "none"
        raise SinkError(f"{store.url}: no run {run} is published; there are: {there}")
    plans = {name: run_file_if_sound(store, plan_path(name), PlanFile) for name in names}
    regated = {name: plan.origin for name, plan in plans.items() if plan and plan.origin}
    run = regated.get(run or "", run)
    plans = {name: plan for name, plan in plans.items() if name not in regated}
    known: dict[str, dict[int, str]] = {}
    for name, plan in plans.items():
        if plan is not None and plan.retry is not None:
            known.setdefault(plan.retry.run, {})[plan.retry.number] = name
    wanted = plans.get(run or "")
    base = wanted.retry.run if wanted is not None and wanted.retry is not None else run
    for name, plan in plans.items():
        if plan is None and base in (None, name):
            raise SinkError(f"{store.at(plan_path(name))}: cannot be read")
        if plan is not None and plan.retry is None and base in (None, name):
            yield _Family(name, plan, known.get(name, {}))


def _plan_retry(store: Store, family: _Family, console: Console) -> RunPlan | None:
    """The retry that is under way, or the next one; None where there is nothing to retry."""
    number = next(n for n in count(1) if not _finished(store, family.retries.get(n)))
    failed = _failed(store, family, before=number)
    if not failed:
        return None
    recipe, cards = _recipe_again(store, family)
    coming = Retry(family.name, number)
    chunks, lost = _chunks(store, failed, recipe, coming, family.plan.digest)
    if lost:
        told = f"{family.name}: {lost} copies cannot be retried, of their sources no byte was read"
        console.print(told, soft_wrap=True, highlight=False)
    if not chunks:
        return None
    source = recipe.source.model_copy(update={"shards": tuple(c.shard.url for c in chunks)})
    recipe = recipe.model_copy(update={"source": source})
    file = Path(f"{family.name}.plan.json")
    plan = RunPlan(file, recipe, cards, family.plan.digest, tuple(chunks), retry=coming)
    return replace(plan, known=family.plan.known)


def _finished(store: Store, run: str | None) -> bool:
    return run is not None and record_exists(store, run)


def _failed(store: Store, family: _Family, before: int) -> list[IndexRow]:
    """The rows of copies that failed, and that neither a retry before this one nor another run has
    kept or rejected.
    """
    failed: dict[_Copy, IndexRow] = {}
    for row in _failed_rows(store, family.name):
        failed[row.quarantine or "", row.source_key, row.copy] = row
    for run in (family.retries[n] for n in range(1, before)):
        for row in table_to_rows(read_index(store, [run])):
            failed.pop((path_in_sink(row.source_shard), row.source_key, row.copy), None)
            if row.status == "failed" and row.quarantine is not None:
                failed[row.quarantine, row.source_key, row.copy] = row
    settled = _made_since(store, family.name, {row.sample_id for row in failed.values()})
    return [row for row in failed.values() if row.sample_id not in settled]


def _made_since(store: Store, run: str, failed: AbstractSet[str]) -> set[str]:
    """Those of these copies that another run has made: of a sample that was mended in its shard."""
    found: set[str] = set()
    values = pa.array(sorted(failed), pa.string())
    others = (one for one in current_runs(store) if one != run and not one.startswith(f"{run}-"))
    for other in others if failed else ():
        for batch in index_batches(store, other, ["sample_id", "status"]):
            made = pc.not_equal(batch.column("status"), "failed")
            its = batch.filter(pc.and_(made, pc.is_in(batch.column("sample_id"), values)))
            found.update(its["sample_id"].to_pylist())
    return found


def _failed_rows(store: Store, run: str) -> Iterator[IndexRow]:
    """Those whose sources are in a quarantine tar; of the others no more than a row group is
    held.
    """
    with sink_errors(store):
        for batch in index_batches(store, run):
            failed = pc.and_(pc.equal(batch["status"], "failed"), pc.is_valid(batch["quarantine"]))
            yield from table_to_rows(pa.table(batch.filter(failed)))


def _chunks(
    store: Store, failed: Sequence[IndexRow], recipe: FullRecipe, coming: Retry, digest: str
) -> tuple[list[Chunk], int]:
    """One chunk for each quarantine tar, with the failed copies alone; and how many copies cannot
    be made, for want of bytes.
    """
    by_tar: dict[str, dict[str, list[int]]] = {}
    for row in failed:
        by_tar.setdefault(row.quarantine or "", {}).setdefault(row.source_key, []).append(row.copy)
    chunks: list[Chunk] = []
    lost = len(failed)
    for path, copies in by_tar.items():
        scan = scan_shard(store.at(path), recipe.source)
        for finding in scan.findings:
            if not finding.harmless:
                raise SinkError(f"{finding}; `noiseloom verify {store.url}` tells more")
        samples = tuple(
            replace(sample, copies=tuple(sorted(copies[sample.key])))
            for sample in scan.samples
            if sample.key in copies
        )
        if not samples:
            continue
        lost -= sum(len(sample.copies or ()) for sample in samples)
        named = [[sample.key, sample.copies] for sample in samples]
        chunk_id = digest_of([scan.shard.content, named, digest, coming.run, coming.number])
        chunks.append(Chunk(scan.shard, len(chunks), samples, chunk_id))
    return chunks, lost


def _recipe_again(store: Store, family: _Family) -> tuple[FullRecipe, dict[str, ModelCard]]:
    """The run's recipe, for this sink, and its models; ModelError where they have changed."""
    plan = family.plan
    cards = check_models(plan.recipe)
    models = digests(cards)
    if models != plan.models or plan.recipe.digest(models) != plan.digest:
        raise ModelError(
            f"{family.name}: the models, or the version of noiseloom, are not those that the run "
            "was made with: its copies would not be the same. Put them back, or start a new run"
        )
    changes = {"sink": store.url, "tracking": plan.tracking, "budget": NO_BUDGET}
    return plan.recipe.model_copy(update=changes), cards
