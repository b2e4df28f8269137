"""What a run that was not finished has committed, taken over by another one.

A chunk's id says what shapes it: what is pending in any run is what this one would make, where the
runs are `alike`, as to whether they compile their networks and which images their gates know. So a
night that finds another source than the one that was killed before it takes over the chunks that
both plan: their rows, under its own name, and the same tars. The other run may be alive after all:
which of the two publishes a chunk is decided by their slots, as ever. What is published by then is
deleted from what is pending elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from pipeline.index.files import (
    PENDING,
    READERS,
    index_file,
    pending_path,
    read_table,
    sink_errors,
)
from pipeline.storage.store import Store


def committed_elsewhere(store: Store, run: str) -> dict[str, str]:
    """The chunks that other runs have committed and not published, and in which run each is."""
    with sink_errors(store):
        paths = store.list(PENDING)
    places = (path.removeprefix(f"{PENDING}/").partition("/") for path in paths)
    found = {chunk.removesuffix(".parquet"): other for other, _, chunk in places if other != run}
    return dict(sorted(found.items()))


def adopt(
    store: Store, run: str, chunks: Collection[str], alike: Callable[[str], bool]
) -> Mapping[str, int]:
    """Commits those of these chunks in this run that another one has committed, of those that are
    `alike`; how many are taken over from which.
    """
    elsewhere = committed_elsewhere(store, run)
    like = {other for other in set(elsewhere.values()) if alike(other)}
    elsewhere = {chunk: other for chunk, other in elsewhere.items() if other in like}
    mine = [chunk for chunk in chunks if chunk in elsewhere]
    with ThreadPoolExecutor(READERS) as pool:
        taken = pool.map(lambda chunk: _taken(store, run, chunk, elsewhere[chunk]), mine)
        return Counter(elsewhere[c] for c, there in zip(mine, taken, strict=True) if there)


def drop_adopted(store: Store, run: str, chunks: Collection[str]) -> None:
    """Deletes what is pending of these published chunks in other runs: whatever these do, they find
    the chunks in a slot.
    """
    there = committed_elsewhere(store, run)
    with sink_errors(store):
        store.delete_many([pending_path(there[chunk], chunk) for chunk in chunks if chunk in there])


def _taken(store: Store, run: str, chunk: str, other: str) -> bool:
    with sink_errors(store):
        try:
            table = read_table(store, pending_path(other, chunk))
        except FileNotFoundError:
            return False  # it has published meanwhile, or was given up
        at = table.schema.get_field_index("run")
        names = pa.array([run] * len(table), pa.string())
        renamed = table.set_column(at, table.schema.field(at), names)
        store.create(pending_path(run, chunk), index_file([renamed]))
        return True
