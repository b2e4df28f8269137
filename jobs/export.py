"""`noiseloom export`: the kept samples of published runs as a folder that other tools read.

Writes into a folder that appears when everything is in it, and says at the end what is in it, what
the format could not hold, and how to read it back. `<out>/export.json` names the runs, the filter
and the classes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from jobs.import_data import progress
from pipeline.catalog import Catalog, woven
from pipeline.exporting.export import Format, export
from pipeline.exporting.writer import ClassNames, Tally
from pipeline.importing.writing import check_free
from pipeline.index.files import published_path, read_table, sink_there
from pipeline.sink.publication import current_runs
from schemas.errors import RecipeError, SinkError

_SPLIT: Final = re.compile(r"[\w-]+")

READ_BACK: Final = {
    "coco": "noiseloom import coco {out}/instances_{split}.json {out}/{split} SHARDS",
    "yolo": "noiseloom import yolo {out} SHARDS",
    "voc": "noiseloom import voc {out} SHARDS --split {split}",
    "masks": "noiseloom import masks {out}/images {out}/masks SHARDS {classes}",
}


@dataclass(frozen=True)
class Choice:
    """Which samples, and what they are called there."""

    runs: tuple[str, ...]
    where: str | None
    classes: tuple[str, ...]
    split: str


def export_data(format: Format, sink: str, out: Path, choice: Choice, console: Console) -> Tally:
    """Reads, writes and tells."""
    check_free(out)
    if not _SPLIT.fullmatch(choice.split):
        raise RecipeError(f"--split {choice.split}: letters, digits, _ and - make a split's name")
    store = sink_there(sink)
    runs = choice.runs or tuple(current_runs(store))
    if not runs:
        raise SinkError(f"{sink}: no run is published here")
    with console.status("reading the index"):
        catalog = woven(sink, runs=runs, where=choice.where)
    if not len(catalog):
        what = f" for which {choice.where}" if choice.where else ""
        raise SinkError(f"{sink}: there is no kept sample{what} in {', '.join(runs)}")
    names = _names(format, catalog, sink, runs, choice)
    told = {"sink": sink, "runs": list(runs), "where": choice.where, "catalog": catalog.digest}
    with progress(len(catalog), console) as step:
        tally = export(catalog, format, names, out, told, step)
    _tell(tally, format, names, out, runs, console)
    return tally


def _names(
    format: Format, catalog: Catalog, sink: str, runs: Sequence[str], choice: Choice
) -> ClassNames:
    """The classes as given, else as the runs' recipes have them; RecipeError where neither does."""
    layout = catalog.layout
    if format == "masks":
        if layout.segmentation is None:
            raise RecipeError(f"{sink}: these runs have no class-id maps; export coco, voc or yolo")
        names = choice.classes or layout.seg_classes
        if names is None:
            raise RecipeError(
                f"{sink}: the runs name no classes: give --class, in order of the ids"
            )
        return ClassNames((), tuple(names), choice.split)
    if layout.labels is None:
        raise RecipeError(f"{sink}: these runs have no boxes; export masks")
    names = choice.classes or layout.classes
    if names is None:
        found = ", ".join(_found(sink, runs)) or "no object"
        says = f"give --class for each, in the order of their numbers; found: {found}"
        raise RecipeError(f"{sink}: the runs name no classes: {says}")
    return ClassNames(tuple(names), layout.seg_classes or (), choice.split)


def _found(sink: str, runs: Sequence[str]) -> list[str]:
    store, found = sink_there(sink), set[str]()
    for run in runs:
        column = read_table(store, published_path(run), ["labels"])["labels"].combine_chunks()
        found |= set(column.flatten().unique().to_pylist())
    return sorted(found)


def _tell(
    tally: Tally,
    format: Format,
    names: ClassNames,
    out: Path,
    runs: Sequence[str],
    console: Console,
) -> None:
    numbers = names.seg_classes if format == "masks" else names.classes
    objects = ", ".join(f"{name} {tally.objects[name]}" for name in names.classes)
    classes = " ".join(f"--class {i}={name}" for i, name in enumerate(names.seg_classes))
    back = READ_BACK[format].format(out=out, split=names.split, classes=classes)
    lines = [
        f"{out}: {tally.images} images of {', '.join(runs)}",
        f"objects: {objects}" if format != "masks" else f"classes: {', '.join(numbers)}",
        *(f"left out of {n} images: {what}" for what, n in sorted(tally.left_out.items())),
        f"read back with: {back}",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
