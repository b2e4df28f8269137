"""A catalog through a writer: every sample once, in its order, or no folder at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, Literal

from pipeline.catalog import Catalog
from pipeline.exporting.coco import CocoWriter
from pipeline.exporting.folder import FileNames, new_folder
from pipeline.exporting.masks import MasksWriter
from pipeline.exporting.voc import VocWriter
from pipeline.exporting.writer import ClassNames, Tally, Writer, put
from pipeline.exporting.yolo import YoloWriter
from schemas.errors import SampleError, SinkError
from schemas.sample import Sample

Format = Literal["coco", "yolo", "voc", "masks"]

WRITERS: Final[Mapping[Format, Callable[[Path, ClassNames], Writer]]] = {
    "coco": CocoWriter,
    "yolo": YoloWriter,
    "voc": VocWriter,
    "masks": MasksWriter,
}


def export(
    catalog: Catalog,
    format: Format,
    names: ClassNames,
    out: Path,
    told: Mapping[str, object],
    step: Callable[[], None] = lambda: None,
) -> Tally:
    """Writes the folder. `told`: where the samples are from, for `export.json`; `step` is called
    after every sample. SinkError where a sample cannot be read, or has a class that is not named.
    """
    tally, files = Tally(), FileNames()
    with new_folder(out) as folder, closing(WRITERS[format](folder, names)) as writer:
        for i in range(len(catalog)):
            encoded = catalog.encoded(i)
            sample = _sample(catalog, i)
            _check_classes(catalog, i, sample, format, names)
            lost = writer.add(files.of(encoded.key), encoded.image, sample)
            tally.images += 1
            tally.objects.update(sample.objects.labels)
            tally.left_out.update(lost)
            step()
        writer.finish()
        put(folder / "export.json", _record(format, names, tally, told))
    return tally


def _sample(catalog: Catalog, i: int) -> Sample:
    try:
        return catalog.sample(i)
    except SampleError as error:
        raise SinkError(f"{error}; `noiseloom verify` tells what else is damaged") from error


def _check_classes(
    catalog: Catalog, i: int, sample: Sample, format: Format, names: ClassNames
) -> None:
    where = f"{catalog.tar(i)}: sample {sample.key!r}"
    if format != "masks":
        unknown = [label for label in sample.objects.labels if label not in names.classes]
        if unknown:
            listed = ", ".join(names.classes)
            raise SinkError(f"{where}: class {unknown[0]!r} is none of {listed}; name all classes")
    elif sample.class_map_hw is not None:
        ids = set(sample.class_map_hw.ravel().tolist()) - {255}
        if max(ids, default=0) >= len(names.seg_classes):
            listed = ", ".join(names.seg_classes)
            raise SinkError(f"{where}: id {max(ids)} has no name in {listed}; name all classes")


def _record(format: Format, names: ClassNames, tally: Tally, told: Mapping[str, object]) -> str:
    record = {
        "format": format,
        "split": names.split,
        "classes": list(names.seg_classes if format == "masks" else names.classes),
        "images": tally.images,
        "objects": dict(sorted(tally.objects.items())),
        "left_out": dict(sorted(tally.left_out.items())),
        **told,
    }
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"
