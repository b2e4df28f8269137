"""Publishing: the chunks that a run has committed become its index, which training reads.

First the run takes a slot in the order of the sink (`pipeline.sink.slots`): that is the decision.
Then `index/<run>.parquet` is made from the slot and the pending files, which are created once and
stay until it is there: whoever makes it, makes the same. Last the pending files and the journal of
attempts are deleted. A process that dies in between leaves a slot without an index file; the run's
own rerun makes it, or whoever publishes next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

from pipeline.index.files import (
    PENDING,
    index_file,
    joined,
    pending_chunks,
    pending_path,
    pending_runs,
    published_path,
    published_runs,
    read_table,
    sink_errors,
    tars_of,
)
from pipeline.sink.slots import Slot, add_slot, owners, read_slots, slot_of, superseded
from pipeline.storage.store import Store
from schemas.errors import RunError, SinkError

ATTEMPTS: Final = "attempts"
"""The journals of runs under way: attempts/<run>/..."""


def committed(store: Store, run: str) -> set[str]:
    """The chunks that are committed: pending in this run, or in any run's slot."""
    with sink_errors(store):
        pending = set(pending_chunks(store, run))  # first: publishing moves them into a slot
        return pending | set(owners(read_slots(store)))


def publish(store: Store, run: str, order: Sequence[str]) -> None:
    """Publishes the run's chunks in the plan's order, but for those that another run has published.

    A chunk of `order` that is nowhere committed is a RunError. Publishing again does nothing but
    finish what was interrupted, be it this run's publishing or another's.
    """
    with sink_errors(store):
        slot, rows = _take_slot(store, run, order)
        if not _write_index(store, slot, rows):
            raise SinkError(f"{store.url}: {run}: rows of its slot are gone; who deleted them?")
        for other in unmade(store):
            _write_index(store, other, None)
        drop(store, run)


def unmade(store: Store) -> list[Slot]:
    """The slots of runs whose publishing was killed before the index file was there."""
    slots = read_slots(store)  # before the index files, which follow them
    there = set(published_runs(store))
    return [slot for slot in slots if slot.event == "published" and slot.run not in there]


def current_runs(store: Store, *, pending: bool = False) -> list[str]:
    """The published runs that together hold every copy once, sorted: all but those that were judged
    again (`noiseloom regate`), for which the latest judgement stands. What reads all runs reads
    these. With `pending`, those under way too.
    """
    under_way = pending_runs(store) if pending else []  # first: publishing moves them on
    there = published_runs(store)  # before the slots, which precede them
    gone = superseded(read_slots(store), there)
    return sorted({*there, *under_way} - gone)


def origins(store: Store) -> list[str]:
    """The published runs that made their copies themselves, sorted: all copies that there ever
    were, also those of samples that are gone.
    """
    there = set(published_runs(store))
    return sorted({slot.run for slot in read_slots(store) if slot.event == "published"} & there)


def publish_again(
    store: Store,
    run: str,
    origin: str,
    make: Callable[[], bytes],
    event: Literal["regated", "followed"] = "regated",
) -> None:
    """Publishes the rows of `origin` as `run`, judged by other gates, or without those of samples
    that are gone, and makes it the current one.

    `make` gives the index file, the same one every time; it is asked only where there is none yet.
    A process that dies before the file is there leaves the run current that was.
    """
    with sink_errors(store):
        path = published_path(run)
        index = None if store.exists(path) else make()
        while True:
            slots = read_slots(store)
            slot_of(slots, run)  # it may be being given up
            last = [slot.run for slot in slots if slot.origin == origin][-1:]
            slot = Slot(run=run, event=event, origin=origin)
            if last == [run] or add_slot(store, slots, slot):
                break
        if index is not None:
            store.create(path, index)


def drop(store: Store, run: str) -> None:
    """Deletes a run's pending files and its journal."""
    store.delete_many([*store.list(f"{PENDING}/{run}"), *store.list(f"{ATTEMPTS}/{run}")])


@dataclass(frozen=True)
class _Rows:
    """The index file with the rows of these chunks, in order."""

    chunks: tuple[str, ...]
    file: bytes


def _take_slot(store: Store, run: str, order: Sequence[str]) -> tuple[Slot, _Rows | None]:
    """The run's slot, and what was read of its pending files; None where it was taken before."""
    while True:
        slots = read_slots(store)  # before the pending files: `gc --abandon` deletes after its slot
        slot = slot_of(slots, run)
        if slot is not None:
            return slot, None
        taken, there = owners(slots), set(pending_chunks(store, run))
        rows, whole = _read_whole(store, run, [c for c in order if c in there and c not in taken])
        missing = [chunk for chunk in order if chunk not in taken and chunk not in whole]
        moved = missing and read_slots(store) != slots  # published and dropped meanwhile
        if missing and not moved:
            raise RunError(
                f"{run}: {len(missing)} of {len(order)} chunks are not committed, {missing[0]} is "
                "the first; start the run again to make them"
            )
        slot = Slot(run=run, chunks=rows.chunks)
        if not missing and add_slot(store, slots, slot):
            return slot, rows


def _read_whole(store: Store, run: str, chunks: Sequence[str]) -> tuple[_Rows, set[str]]:
    """The rows of those chunks that are there, and which of them have all their tars. Where
    somebody deleted a tar, the pending file that names it goes too, so that the next start makes
    the chunk again.
    """
    named: dict[str, tuple[str, ...]] = {}

    def noted(chunk: str) -> pa.Table | None:
        table = _read_if_there(store, pending_path(run, chunk))
        if table is not None:
            named[chunk] = tuple(tars_of(table))
        return table

    file = index_file(joined(chunks, noted))
    folders = {path.partition("/")[0] for paths in named.values() for path in paths}
    there = {path for folder in folders for path in store.list(folder)}
    broken = [chunk for chunk, paths in named.items() if not there.issuperset(paths)]
    for chunk in broken:
        store.delete(pending_path(run, chunk))
    there_now = tuple(chunk for chunk in chunks if chunk in named)
    return _Rows(there_now, file), named.keys() - set(broken)


def _read_if_there(store: Store, path: str) -> pa.Table | None:
    try:
        return read_table(store, path)
    except FileNotFoundError:
        return None


def _write_index(store: Store, slot: Slot, rows: _Rows | None) -> bool:
    """Makes the index file of a slot, unless it is there; False where its rows are gone."""
    path = published_path(slot.run)
    if store.exists(path):
        return True
    try:
        if rows is None or rows.chunks != slot.chunks:
            paths = [pending_path(slot.run, chunk) for chunk in slot.chunks]
            file = index_file(joined(paths, lambda path: read_table(store, path)))
        else:
            file = rows.file
    except FileNotFoundError:
        return store.exists(path)  # another process was faster, and has cleaned up
    store.create(path, file)
    return True
