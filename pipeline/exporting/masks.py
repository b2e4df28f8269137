"""Images and class-id maps: `images/` and `masks/`, files of the same names, and `classes.txt`.

A map is a gray PNG of 8 bits whose numbers are class ids, with 255 where nobody labelled. A line
of `classes.txt` is `<id>=<name>`, as `noiseloom import masks --class` takes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.exporting.writer import ClassNames, put
from pipeline.images.encoding import encode_ids
from pipeline.importing.header import read_header
from schemas.sample import Sample


class MasksWriter:
    """Two files a sample."""

    def __init__(self, folder: Path, names: ClassNames) -> None:
        self._folder, self._names = folder, names

    def add(self, name: str, image: bytes, sample: Sample) -> Sequence[str]:
        """The image and its map."""
        put(self._folder / "images" / f"{name}.{read_header(image).suffixes[0]}", image)
        if sample.class_map_hw is not None:
            put(self._folder / "masks" / f"{name}.png", encode_ids(sample.class_map_hw))
        return () if sample.instances is None else ("boxes and instance masks: maps have none",)

    def finish(self) -> None:
        """The names of the ids."""
        lines = [f"{i}={name}\n" for i, name in enumerate(self._names.seg_classes)]
        put(self._folder / "classes.txt", "".join(lines))

    def close(self) -> None:
        """Nothing is open."""
