"""What stands beside the shards: `dataset.json`, `report.json`, `README.md`; and how a recipe names
the shards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import yaml

from pipeline.importing.records import Dataset
from pipeline.importing.report import Report
from pipeline.importing.writing import SplitTally, write_file, write_json
from schemas.members import IMAGE_SUFFIXES
from schemas.sample import IGNORE_ID

Tallies = Mapping[str, SplitTally]


def write_card(folder: Path, out: Path, dataset: Dataset, tallies: Tallies, report: Report) -> None:
    """The three files. No times and no full paths: the same dataset gives the same bytes."""
    splits = {name: _split(tally) for name, tally in tallies.items()}
    write_json(
        folder / "dataset.json",
        {
            "name": dataset.name,
            "format": dataset.format,
            "classes": list(dataset.classes),
            "seg_classes": list(dataset.seg_classes),
            "seg_ignore": IGNORE_ID,
            "splits": splits,
        },
    )
    write_json(folder / "report.json", report.record())
    write_file(folder / "README.md", _readme(out, dataset, tallies, report).encode())


def class_counts(dataset: Dataset, tallies: Tallies) -> dict[str, int]:
    """Objects per class, in the order of the classes."""
    found: Counter[str] = Counter()
    for tally in tallies.values():
        found.update(tally.labels)
    return {name: found[name] for name in dataset.classes}


def source_block(out: str, split: str, dataset: Dataset, tally: SplitTally) -> str:
    """The `source:` of a recipe that reads one split."""
    last = len(tally.shards) - 1
    number = "000000" if last == 0 else f"{{000000..{last:06d}}}"
    source: dict[str, object] = {"shards": f"{out}/{split}-{number}.tar"}
    suffixes = sorted(tally.suffixes)
    if not set(suffixes) <= set(IMAGE_SUFFIXES):
        source["image"] = suffixes
    source["labels"] = "json"
    whole = tally.with_maps == tally.samples
    source |= {"segmentation": "seg.png"} if whole else {}
    source |= {"classes": list(dataset.classes)} if dataset.classes else {}
    if whole and dataset.seg_classes:
        source["seg_classes"] = list(dataset.seg_classes)
    lines = [f"  {key}: {_flow(value)}\n" for key, value in source.items()]
    return "source:\n" + "".join(lines)


def _flow(value: object) -> str:
    """A value as YAML, in one line."""
    text: str = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, width=10**6, explicit_end=False
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _split(tally: SplitTally) -> dict[str, object]:
    total = sum(tally.pixels.values())
    return {
        "samples": tally.samples,
        "boxes": sum(tally.labels.values()),
        "boxes_per_class": dict(sorted(tally.labels.items())),
        "samples_with_masks": tally.with_masks,
        "samples_with_class_map": tally.with_maps,
        "seg_pixel_fraction": {
            str(i): round(n / total, 5) for i, n in sorted(tally.pixels.items())
        },
        "shards": tally.shards,
    }


def _readme(out: Path, dataset: Dataset, tallies: Tallies, report: Report) -> str:
    rows = [
        f"| {name} | {t.samples} | {len(t.shards)} | {sum(t.labels.values())} | {t.with_masks} "
        f"| {t.with_maps} |"
        for name, t in tallies.items()
    ]
    images, annotations = report.images(), report.annotations()
    lines = [
        f"# {out.name}",
        "",
        f"Imported from {dataset.format} ({dataset.name}) by `noiseloom import`: WebDataset shards "
        "with the bytes of the images, labels as JSON and class-id maps as PNG.",
        "",
        "| split | samples | shards | objects | with masks | with class-id map |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        f"Of {images.read} images {sum(images.dropped.values())} were left out; of "
        f"{annotations.read} annotations {sum(annotations.dropped.values())} were left out and "
        f"{annotations.repaired} repaired. `report.json` says why.",
        "",
    ]
    return "\n".join(lines)
