"""The catalog of published runs: their index files, a batch of rows and a few columns at a time.

What a run's members and classes are stands in its plan, `runs/<run>.plan.json`. Runs of one catalog
must agree about the members; where only one of them names classes, its names count for all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ValidationError

from pipeline.catalog.catalog import NONE, Catalog, Tar, joined
from pipeline.index.arrow_numpy import to_numpy
from pipeline.index.conditions import Where, held
from pipeline.index.files import index_batches, published_runs, sink_errors, sink_there
from pipeline.index.where import parse
from pipeline.sink.run_files import plan_path
from pipeline.storage.store import Store
from schemas.errors import SinkError
from schemas.recipe import Source

READ: Final = ("status", "shard", "key", "members")


def woven(
    sink: str, *, runs: Sequence[str], where: str | None = None, layout: Source | None = None
) -> Catalog:
    """The kept samples of these published runs for which `where` holds (`pipeline.index.where`).
    What was rejected is never among them, also where its bytes are in the sink.

    `layout`: what the members are called, where the plans of the runs are gone. SinkError where a
    run is not published, RecipeError where `where` is wrong.
    """
    store = sink_there(sink)
    condition = None if where is None else parse(where)
    with sink_errors(store):
        _check_published(store, runs)
        known = layout or _agreed(store, runs)
        return joined([_of_run(store, run, condition, known) for run in dict.fromkeys(runs)])


def _check_published(store: Store, runs: Sequence[str]) -> None:
    there = published_runs(store)
    missing = [run for run in runs if run not in there]
    if missing or not runs:
        what = f"no run {missing[0]} is published" if missing else "name the runs to read"
        raise SinkError(f"{store.url}: {what}; there are: {', '.join(there) or 'none'}")


def _of_run(store: Store, run: str, where: Where | None, layout: Source) -> Catalog:
    parts = [_of_batch(store, rows, layout) for rows in _rows(store, run, where)]
    return joined(parts) if parts else _empty(layout)


def _rows(store: Store, run: str, where: Where | None) -> Iterator[pa.RecordBatch]:
    """The columns that matter, of the rows that count."""
    columns = [*READ, *sorted((where.columns() if where else set()) - {*READ})]
    for batch in index_batches(store, run, columns):
        mask = held(where, batch)
        if pc.any(mask).as_py():
            yield batch.select(READ).filter(mask)


def _of_batch(store: Store, rows: pa.RecordBatch, layout: Source) -> Catalog:
    shards = rows.column("shard").dictionary_encode()
    keys = rows.column("key").cast(pa.large_string())
    offsets_n3, sizes_n3 = _places(rows.column("members"), keys, layout)
    tars = tuple(Tar(store, path) for path in shards.dictionary.to_pylist())
    tar_n = to_numpy(shards.indices).astype(np.int32)
    return Catalog(layout, tars, tar_n, offsets_n3, sizes_n3, keys)


def _places(
    members: pa.ListArray, keys: pa.Array, layout: Source
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where image, labels and class-id map of every row lie."""
    row_m = to_numpy(pc.list_parent_indices(members))
    flat = pc.list_flatten(members)
    names = pc.struct_field(flat, "name")
    offset_m, size_m = (to_numpy(pc.struct_field(flat, name)) for name in ("offset", "size"))
    # a member is called <key>.<suffix>
    suffix_m = to_numpy(pc.binary_length(names)) - to_numpy(pc.binary_length(keys))[row_m] - 1
    offsets_n3 = np.full((len(keys), 3), NONE, np.int64)
    sizes_n3 = np.zeros((len(keys), 3), np.int64)
    for role, suffix in _roles(layout):
        if role == 0 and (offsets_n3[:, 0] != NONE).all():
            break  # images of all rows are found, and looking for .webp would take as long
        named_m = to_numpy(pc.ends_with(names, f".{suffix}"))
        of_role = named_m & (suffix_m == len(suffix.encode()))
        offsets_n3[row_m[of_role], role] = offset_m[of_role]
        sizes_n3[row_m[of_role], role] = size_m[of_role]
    return offsets_n3, sizes_n3


def _roles(layout: Source) -> Iterator[tuple[int, str]]:
    """Column of the arrays, and suffix."""
    for role, suffix in ((1, layout.labels), (2, layout.segmentation)):
        if suffix is not None:
            yield role, suffix
    for suffix in layout.image:
        if suffix not in (layout.labels, layout.segmentation):
            yield 0, suffix


def _empty(layout: Source) -> Catalog:
    places = np.zeros((0, 3), np.int64)
    keys = pa.array([], pa.large_string())
    return Catalog(layout, (), np.zeros(0, np.int32), places, places.copy(), keys)


def _agreed(store: Store, runs: Sequence[str]) -> Source:
    """The layout of all these runs; SinkError where they contradict each other."""
    layouts = {run: _layout(store, run) for run in runs}
    first = next(iter(layouts))
    found = layouts[first]
    for run, layout in layouts.items():
        for name in ("labels", "segmentation", "classes", "seg_classes"):
            mine, theirs = getattr(found, name), getattr(layout, name)
            if name.endswith("classes") and None in (mine, theirs):
                found = found.model_copy(update={name: mine or theirs})
            elif mine != theirs:
                raise SinkError(
                    f"{store.url}: source.{name} is {mine} in {first} and {theirs} in {run}: they "
                    "cannot be one training set; make two, and mix them"
                )
    return found


def _layout(store: Store, run: str) -> Source:
    path = plan_path(run)
    try:
        source = json.loads(store.read(path))["recipe"]["source"]
        told = {name: source[name] for name in ("labels", "segmentation", "classes", "seg_classes")}
        return Source.model_validate({"shards": [store.url], **told})
    except FileNotFoundError:
        says = "is missing, which says what the members of the run are; give `layout`"
        raise SinkError(f"{store.at(path)}: {says}") from None
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        says = " ".join(str(error).split())
        raise SinkError(f"{store.at(path)}: not the plan of a run: {says}") from None
