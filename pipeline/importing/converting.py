"""A dataset as read -> a folder of shards with its card: the whole of an import but for reading."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.importing.card import write_card
from pipeline.importing.keys import with_keys
from pipeline.importing.packing import Packed, pack
from pipeline.importing.records import Dataset
from pipeline.importing.report import Report
from pipeline.importing.writing import SplitTally, new_folder, write_shards
from schemas.errors import RecipeError, SourceError

SHARD_SIZE: Final = 1000
_SPLIT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Imported:
    """What came of it."""

    out: Path
    dataset: Dataset
    tallies: dict[str, SplitTally]
    report: Report


def convert(
    dataset: Dataset,
    out: Path,
    shard_size: int = SHARD_SIZE,
    step: Callable[[], None] = lambda: None,
) -> Imported:
    """Writes the shards; `step` is called after every image.

    SourceError where nothing is left to write, RunError where an image or an annotation went
    nowhere; in both cases there is no folder `out` afterwards.
    """
    for split in dict.fromkeys(item.split for item in dataset.items):
        check_split(split)
    report = Report(dataset)
    with new_folder(out) as folder:
        tallies = write_shards(_packed(dataset, report, step), folder, shard_size)
        report.check()
        if not tallies:
            first = next(row for row in report.rows if row.fate == "dropped")
            raise SourceError(
                f"not one of {dataset.images} images can be imported; "
                f"{first.place}: {first.slug}: {first.says}; {first.detail}"
            )
        write_card(folder, out, dataset, tallies, report)
    return Imported(out, dataset, tallies, report)


def check_split(name: str) -> None:
    """The name of a split is part of a file's name and of a pattern in a recipe."""
    if not _SPLIT.fullmatch(name):
        raise RecipeError(f"--split {name}: it must be of letters, digits, - and _")


def _packed(dataset: Dataset, report: Report, step: Callable[[], None]) -> Iterator[Packed]:
    """The samples that are written; the report learns of all."""
    for key, item in with_keys(dataset.items):
        packed = pack(item, key, dataset)
        report.add_sample(packed)
        step()
        if packed.members:
            yield packed
