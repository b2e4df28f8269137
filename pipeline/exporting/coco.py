"""COCO: `instances_<split>.json`, and the images in `<split>/`.

    categories   numbered from 1, in the order of the classes
    bbox         [x, y, width, height], the numbers of the index as they are
    segmentation the instance mask as run lengths, where there is one; else []

Annotations are written as they come: a million images need no memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Final

from pipeline.exporting.writer import ClassNames, put
from pipeline.importing.header import read_header
from pipeline.labels.geometry import areas, rle_encode
from schemas.sample import Sample

PARTS: Final = ("images", "annotations")
BLOCK: Final = 2**20


class CocoWriter:
    """One json and one folder of images."""

    def __init__(self, folder: Path, names: ClassNames) -> None:
        self._folder, self._names = folder, names
        self._category = {name: i + 1 for i, name in enumerate(names.classes)}
        self._ids, self._images = count(1), 0
        self._files = {part: (folder / f".{part}").open("x+", encoding="utf-8") for part in PARTS}

    def add(self, name: str, image: bytes, sample: Sample) -> Sequence[str]:
        """The image, its entry, and the entries of its objects."""
        file = f"{name}.{read_header(image).suffixes[0]}"
        put(self._folder / self._names.split / file, image)
        self._images += 1
        size = {"width": sample.width, "height": sample.height}
        self._write("images", {"id": self._images, "file_name": file, **size})
        for annotation in self._annotations(sample):
            self._write("annotations", annotation)
        return () if sample.class_map_hw is None else ("class-id maps: COCO has none",)

    def finish(self) -> None:
        """Puts the json together."""
        names = self._category.items()
        categories = [{"id": i, "name": name, "supercategory": ""} for name, i in names]
        with (self._folder / f"instances_{self._names.split}.json").open("x") as whole:
            whole.write('{"info": {"description": "exported by noiseloom"}, "licenses": [],\n')
            whole.write(f'"categories": {json.dumps(categories, ensure_ascii=False)}')
            for part, file in self._files.items():
                whole.write(f',\n"{part}": [\n')
                file.seek(0)
                while block := file.read(BLOCK):
                    whole.write(block)
                whole.write("\n]")
                file.close()
                (self._folder / f".{part}").unlink()
            whole.write("}\n")

    def close(self) -> None:
        """Lets go of the files, finished or not."""
        for file in self._files.values():
            file.close()

    def _annotations(self, sample: Sample) -> Iterator[dict[str, object]]:
        objects = sample.objects
        for i, (box, label) in enumerate(zip(objects.boxes_n4, objects.labels, strict=True)):
            x0, y0, x1, y1 = box.tolist()
            record: dict[str, object] = {"segmentation": [], "area": float(areas(box[None])[0])}
            if objects.masks_nhw is not None:
                mask_hw = objects.masks_nhw[i]
                size = [sample.height, sample.width]
                record["segmentation"] = {"size": size, "counts": rle_encode(mask_hw)}
                record["area"] = int(mask_hw.sum())
            yield {
                "id": next(self._ids),
                "image_id": self._images,
                "category_id": self._category[label],
                "bbox": [_plain(x) for x in (x0, y0, x1 - x0, y1 - y0)],
                "iscrowd": 0,
                **record,
            }

    def _write(self, part: str, record: dict[str, object]) -> None:
        file = self._files[part]
        if file.tell():
            file.write(",\n")
        file.write(json.dumps(record, ensure_ascii=False, allow_nan=False))


def _plain(x: float) -> int | float:
    return int(x) if x.is_integer() else x
