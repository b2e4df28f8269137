"""Samples made again from their rows: the promise that the index is all that is needed.

A row names its source sample by shard, key and content, and its run the recipe and the models. The
sample is woven alone, though it was made in a chunk (only an op that looks at its peers is shown
them): that it comes out the same also shows that its pixels do not depend on its batch. Slugs:

    replay_impossible    the source, the recipe or a model is not there any more, or has changed
    replay_differs       other bytes, other draws, or not kept
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from jobs.run.plan_file import PlanFile
from jobs.run.record import versions
from jobs.verify.audit import Finding, Run
from pipeline.chain.weave import RunContext, WovenCopy, weave_chunk
from pipeline.codec import decode_image
from pipeline.known.images import Known, load_known
from pipeline.model import Models
from pipeline.model_check import check_models, digests
from pipeline.recipe import FullRecipe, needs_peers
from pipeline.sink.quarantine import path_in_sink
from pipeline.sink.run_files import plan_path
from pipeline.source.plan import Chunk, EncodedSample, around, read_chunk
from pipeline.source.shards import Scan, scan_shard
from pipeline.stages import devices_of, load_models_of
from pipeline.storage.store import Store
from schemas.errors import ModelError, RecipeError, SampleError, SinkError, SourceError
from schemas.index import IndexRow, Status
from schemas.members import split_name


class ReplayError(Exception):
    """Why a sample cannot be made again; becomes a finding."""


def spread(rows: Sequence[IndexRow], count: int) -> list[IndexRow]:
    """`count` of these rows, evenly over all of them; the same ones every time."""
    count = min(count, len(rows))
    return [rows[(2 * i + 1) * len(rows) // (2 * count)] for i in range(count)]


@dataclass
class Replayer:
    """Makes samples of some runs again; keeps models and scanned shards for the next one."""

    store: Store
    runs: dict[str, Run]
    _models: dict[str, Models] = field(default_factory=dict)
    _shards: dict[str, Scan] = field(default_factory=dict)
    _known: dict[str, Known] = field(default_factory=dict)

    def check(self, row: IndexRow) -> Finding | None:
        """None where the row's sample comes out as it lies in its shard."""
        where = f"{row.shard}: {row.key}"
        try:
            made = self._made(row)
            stored = {m.name: self._stored(row, m.offset, m.size) for m in row.members}
        except ReplayError as error:
            return Finding(where, "replay_impossible", str(error))
        difference = _difference(row, made, stored, self._legal(row.run))
        if difference is None:
            return None
        if self._among_others(row):
            says = f"{row.source_shard}: has changed, and an op looks at other samples of it"
            return Finding(where, "replay_impossible", says)
        return Finding(where, "replay_differs", difference + self._other_versions(row.run))

    def _among_others(self, row: IndexRow) -> bool:
        """Whether an op was shown other samples than are there now, or may have been."""
        plan, scan = self.runs[row.run].plan, self._shards.get(row.source_shard)
        if plan is None or scan is None or not needs_peers(plan.recipe):
            return False
        then = {shard.content for shard in plan.source if shard.url == row.source_shard}
        return bool(then) and scan.shard.content not in then

    def _made(self, row: IndexRow) -> WovenCopy:
        plan = self.runs[row.run].plan
        if plan is None:
            raise ReplayError(f"{plan_path(row.run)} cannot be read")
        models = self._models_of(row, plan)
        encoded = self._source(row, plan)
        context = RunContext(row.run, row.recipe, row.chunk, self._known_of(row, plan))
        only = [(row.source_key, row.copy)]
        (copy,) = weave_chunk(encoded, plan.recipe, models, context, only)
        return copy

    def _models_of(self, row: IndexRow, plan: PlanFile) -> Models:
        if row.run not in self._models:
            try:
                models = digests(check_models(plan.recipe))
            except (RecipeError, ModelError) as error:
                raise ReplayError(str(error)) from error
            if models != plan.models or plan.recipe.digest(models) != row.recipe:
                raise ReplayError("the models are not those that the run was made with")
            self._models[row.run] = _loaded(plan.recipe, plan.attempts)
        return self._models[row.run]

    def _known_of(self, row: IndexRow, plan: PlanFile) -> Known | None:
        """All images of the run's source, where a gate asked for them."""
        if plan.known and row.run not in self._known:
            try:
                self._known[row.run] = load_known(self.store, plan.known)
            except SinkError as error:
                raise ReplayError(str(error)) from error
        return self._known.get(row.run)

    def _source(self, row: IndexRow, plan: PlanFile) -> list[EncodedSample]:
        """The sample, and the others of its chunk where an op looks at them. That of a retry is in
        this very sink, wherever it was when the retry ran.
        """
        recipe, url = plan.recipe, row.source_shard
        if plan.retry is not None:
            url = self.store.at(path_in_sink(url))
        try:
            if url not in self._shards:
                self._shards[url] = scan_shard(url, recipe.source)
            scan = self._shards[url]
            near = around(
                scan.samples, row.source_key, recipe.chunk_size if needs_peers(recipe) else 1
            )
            found = read_chunk(Chunk(scan.shard, 0, near, row.chunk), recipe.source)
        except SourceError as error:
            raise ReplayError(str(error)) from error
        if not any((s.key, s.content) == (row.source_key, row.source_hash) for s in found):
            raise ReplayError(f"{url}: {row.source_key} is gone, or has changed")
        return found

    def _stored(self, row: IndexRow, offset: int, size: int) -> bytes:
        try:
            return self.store.read(row.shard or "", offset, size)
        except OSError as error:
            raise ReplayError(str(error)) from error

    def _legal(self, run: str) -> tuple[Status, ...]:
        """What a kept copy of the run may come out as: the recipe's gates are not those that judged
        a regated one, and its bytes are what counts.
        """
        return ("kept",) if self.runs[run].regate is None else ("kept", "rejected")

    def _other_versions(self, run: str) -> str:
        """What else may be the reason: the same bytes are promised for the same versions."""
        regate = self.runs[run].regate
        made_by = self.runs.get(regate.run) if regate is not None else self.runs[run]
        record, now = made_by.record if made_by is not None else None, versions()
        then = record.versions if record is not None else {}
        changed = [f"{name} {old}" for name, old in then.items() if now.get(name) != old]
        return f" (made with {', '.join(changed)})" if changed else ""


def _loaded(recipe: FullRecipe, attempts: int) -> Models:
    if not recipe.models:
        return {}
    import torch

    if "cuda" in devices_of(recipe).values() and not torch.cuda.is_available():
        raise ReplayError("made on a GPU, and there is none here: the bytes would differ")
    torch.set_num_threads(max(1, int(recipe.resources.cpus)))
    return load_models_of(recipe, attempts)


def _difference(
    row: IndexRow, made: WovenCopy, stored: dict[str, bytes], legal: Sequence[Status]
) -> str | None:
    if made.row.status not in legal:
        return f"comes out {made.row.status}: {made.row.reason}"
    if made.row.ops != row.ops:
        return "other ops, or other draws"
    members = {f"{row.key}.{suffix}": data for suffix, data in made.members.items()}
    if members.keys() != stored.keys():
        return f"members {', '.join(sorted(members))}; stored are {', '.join(sorted(stored))}"
    for name, data in members.items():
        if data != stored[name]:
            return f"{split_name(name)[1]}: {_apart(stored[name], data)}"
    return None


def _apart(stored: bytes, made: bytes) -> str:
    """How far two files are from each other; in pixels where both are images of one size."""
    try:
        a, b = (decode_image(data).astype(int) for data in (stored, made))
    except SampleError:
        return f"{len(stored)} bytes, made again {len(made)}"
    if a.shape != b.shape:
        return f"{a.shape}, made again {b.shape}"
    apart = np.abs(a - b).max(axis=2)
    return f"{np.count_nonzero(apart)} of {apart.size} pixels differ, by {apart.max()} at most"
