"""YOLO: `data.yaml`, `images/<split>/` and `labels/<split>/`, one line an object.

`class x y width height`, the middle and the sides in shares of the image, with 9 decimals: of an
image of 10,000 pixels a hundred-thousandth of one. Classes are numbered from 0, in their order.
`data.yaml` names this split alone; Ultralytics also wants a `val`, which is yours to add: augmented
samples judge nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from pipeline.exporting.writer import ClassNames, put
from pipeline.importing.header import read_header
from schemas.sample import Sample


class YoloWriter:
    """One text file an image."""

    def __init__(self, folder: Path, names: ClassNames) -> None:
        self._folder, self._names = folder, names
        self._number = {name: i for i, name in enumerate(names.classes)}

    def add(self, name: str, image: bytes, sample: Sample) -> Sequence[str]:
        """The image and its lines; a file without lines says that there is nothing."""
        split = self._names.split
        put(self._folder / "images" / split / f"{name}.{read_header(image).suffixes[0]}", image)
        lines = [
            f"{self._number[label]} {_shares(box, sample.width, sample.height)}\n"
            for box, label in zip(
                sample.objects.boxes_n4.tolist(), sample.objects.labels, strict=True
            )
        ]
        put(self._folder / "labels" / split / f"{name}.txt", "".join(lines))
        lost = (
            [] if sample.objects.masks_nhw is None else ["instance masks: only boxes are written"]
        )
        return lost + ([] if sample.class_map_hw is None else ["class-id maps: YOLO has none"])

    def finish(self) -> None:
        """The file that names classes and folders."""
        split = self._names.split
        record = {split: f"images/{split}", "names": dict(enumerate(self._names.classes))}
        text = yaml.safe_dump(record, sort_keys=False, allow_unicode=True)
        put(self._folder / "data.yaml", text)

    def close(self) -> None:
        """Nothing is open."""


def _shares(box: Sequence[float], width: int, height: int) -> str:
    x0, y0, x1, y1 = box
    shares = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height
    return " ".join(f"{share:.9f}" for share in shares)
