"""`follow_deletions`: what is published follows the source, also where samples go.

After a night has published, every run of its recipe is looked at: a copy stays if its chunk is in
the night's plan, or if its sample is, under another shard (`pipeline.sink.made`), or if it comes
from a shard that is damaged, and may still be in it. A run with copies that do not stay is
superseded by one without them, `<run>-of-<the night's digits>`, with the same rows else and the
same tars, as `noiseloom regate` supersedes it (`pipeline.sink.slots`): who reads all runs reads
that. The run itself stays as it is, and can be read by name; no tar is deleted. Where the samples
come back, so does it.

The slot at the end says that what is current follows this night: a later start finds nothing to do.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.index.files import index_batches, published_runs, sink_errors
from pipeline.sink.publication import publish_again
from pipeline.sink.slots import Slot, add_slot, read_slots
from pipeline.storage.store import Store
from schemas.index import INDEX_SCHEMA

COLUMNS = ("sample_id", "chunk", "status", "recipe", "source_shard")


@dataclass(frozen=True)
class Alive:
    """What of a source is there: the chunks of a night's plan, ids of copies that were made of its
    samples under other shards, and `damaged` shards, of which nobody knows what is gone. Copies of
    another recipe than `digest` are not asked about.
    """

    digest: str
    chunks: AbstractSet[str]
    ids: AbstractSet[str] = field(default_factory=frozenset)
    damaged: AbstractSet[str] = field(default_factory=frozenset)

    def mask(self, rows: pa.RecordBatch) -> pa.Array:
        """Which of these rows stay."""
        alive = (("chunk", self.chunks), ("sample_id", self.ids), ("source_shard", self.damaged))
        stays = pc.invert(self.asked(rows))
        for name, those in alive:
            values = pa.array(sorted(those), pa.string())
            stays = pc.or_(stays, pc.is_in(rows.column(name), values))
        return stays

    def asked(self, rows: pa.RecordBatch) -> pa.Array:
        """Which of these rows are of the recipe."""
        return pc.equal(rows.column("recipe"), self.digest)


@dataclass(frozen=True)
class Follower:
    """What becomes of a published run: `run` holds what stays of it, and is `base` itself, the
    origin under its latest gates, where all does. `current` counts until now; `lost` are copies.
    """

    origin: str
    base: str
    run: str
    current: str
    alive: Alive
    lost: int = 0


def is_followed(slots: Sequence[Slot], recipe: str, night: str) -> bool:
    """Whether what is current of the recipe of this name follows this night already, and nothing
    was published since.
    """
    mine = _runs_of(recipe)
    events = ("published", "regated", "followed")
    its = (s for s in reversed(slots) if s.event in events and mine.match(s.origin or s.run))
    last = next(its, None)
    return last is not None and last == Slot(run=night, event="followed")


def followers(store: Store, recipe: str, night: str, alive: Alive) -> list[Follower]:
    """What becomes of every published run of the recipe of this name and digest, retries too. Only
    runs with chunks that are not in the night's plan are read.
    """
    with sink_errors(store):
        there, slots = set(published_runs(store)), read_slots(store)
        mine = _runs_of(recipe)
        found = [
            _follower(store, slot, slots, there, night, alive)
            for slot in slots
            if slot.event == "published" and slot.run in there and mine.fullmatch(slot.run)
        ]
        return [one for one in found if one is not None]


def supersede(store: Store, follower: Follower) -> None:
    """Makes `run` the current one, unless it is."""
    if follower.run != follower.current:
        make = partial(filtered_index, store, follower.base, follower.alive, follower.run)
        publish_again(store, follower.run, follower.origin, make, "followed")


def mark_followed(store: Store, recipe: str, night: str) -> None:
    """The last step: all runs of the recipe follow this night."""
    with sink_errors(store):
        while not is_followed(slots := read_slots(store), recipe, night):
            add_slot(store, slots, Slot(run=night, event="followed"))


def filtered_index(store: Store, base: str, alive: Alive, run: str) -> bytes:
    """The index file of `run`: the rows of `base` that stay, in their order."""
    at, buffer = INDEX_SCHEMA.names.index("run"), io.BytesIO()
    with pq.ParquetWriter(buffer, INDEX_SCHEMA, compression="zstd") as writer:
        for batch in index_batches(store, base):
            rows = batch.filter(alive.mask(batch))
            named = pa.array([run] * len(rows), pa.string())
            writer.write_batch(rows.set_column(at, INDEX_SCHEMA.field("run"), named))
    return buffer.getvalue()


def _runs_of(recipe: str) -> re.Pattern[str]:
    return re.compile(re.escape(recipe) + r"-[0-9a-f]{8}(-retry-\d+)?")


def _follower(
    store: Store,
    slot: Slot,
    slots: Sequence[Slot],
    there: AbstractSet[str],
    night: str,
    alive: Alive,
) -> Follower | None:
    """None where the run is of the recipe from before its ops were changed."""
    of = [s for s in slots if s.origin == slot.run and s.run in there]
    base = next((s.run for s in reversed(of) if s.event == "regated"), slot.run)
    found = Follower(slot.run, base, base, of[-1].run if of else slot.run, alive)
    if frozenset(slot.chunks) <= alive.chunks:
        return found
    still = _with_retried(store, slot.run, alive, there)
    asked = lost = 0
    for batch in index_batches(store, base, COLUMNS):
        asked += _times(alive.asked(batch))
        lost += _times(pc.invert(still.mask(batch)))
    if not asked:
        return None
    run = f"{base}-of-{night[-8:]}" if lost else base
    return replace(found, run=run, alive=still, lost=lost)


def _with_retried(store: Store, run: str, alive: Alive, there: AbstractSet[str]) -> Alive:
    """For a retry: the copies whose failed rows stay in the run that it retries."""
    origin = re.sub(r"-retry-\d+$", "", run)
    if origin == run or origin not in there:
        return alive
    ids: set[str] = set()
    for batch in index_batches(store, origin, COLUMNS):
        failed = pc.and_(alive.mask(batch), pc.equal(batch.column("status"), "failed"))
        ids.update(batch.filter(failed)["sample_id"].to_pylist())
    return replace(alive, ids=alive.ids | ids)


def _times(mask: pa.Array) -> int:
    return int(pc.sum(mask).as_py() or 0)
