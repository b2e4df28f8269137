"""YOLO: data.yaml with the names of the classes, images/ and labels/, one line of text an object.

`class x y width height` is a box, `class x0 y0 x1 y1 x2 y2 ...` an outline, all in shares of the
image as EXIF turns it (Ultralytics reads it so). An image without a label file is one without
objects, as Ultralytics takes it. The splits are those of data.yaml: folders, or text files that
list images.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

import yaml

from pipeline.importing.files import (
    IMAGE_SUFFIXES,
    beside,
    files_below,
    listing,
    read_text,
    some,
)
from pipeline.importing.findings import Finding, dropped, image_dropped
from pipeline.importing.records import Annotation, Box, Dataset, Item, Polygons
from schemas.errors import SourceError

SPLITS: Final = ("train", "val", "test")
MAX_YAML: Final = 4 * 2**20


def read_yolo(source: Path, *, splits: Sequence[str] = ()) -> Dataset:
    """The splits that data.yaml names, or those of them that are asked for."""
    config, file = _config(source)
    names = _names(config, file)
    root = _root(config, file)
    there = [split for split in SPLITS if config.get(split)]
    unknown = [split for split in splits if split not in there]
    if unknown or not there:
        what = f"no split {', '.join(unknown)}" if unknown else "no split (train, val or test)"
        raise SourceError(f"{file}: {what}; it has: {', '.join(there) or 'none'}")
    items: list[Item] = []
    findings: list[Finding] = []
    images = annotations = 0
    for split in [split for split in there if split in (splits or there)]:
        paths, missing = _images(config[split], root, file, split)
        findings += missing
        images += len(paths) + len(missing)
        for path in paths:
            item, found, n = _item(path, root, split, names)
            items += [item] if item else []
            findings += found
            annotations += n
        lost, n = _labels_alone(paths, root)
        findings += lost
        annotations += n
    return Dataset(
        "yolo", root.name, tuple(items), tuple(findings), images, annotations, tuple(names)
    )


def _config(source: Path) -> tuple[Mapping[str, object], Path]:
    """The yaml file, given itself or by its folder."""
    file = source
    if source.is_dir():
        known = [source / "data.yaml", source / "data.yml", source / "dataset.yaml"]
        found = [path for path in known if path.is_file()] or sorted(source.glob("*.y*ml"))
        if len(found) != 1:
            raise SourceError(
                f"{source}: {len(found) or 'no'} yaml files. Looked for: data.yaml with "
                f"`names` and `train`; {source} holds: {listing(source)}"
            )
        file = found[0]
    elif not source.is_file():
        raise SourceError(f"{source}: not there; {beside(source)}. Looked for: data.yaml")
    try:
        if file.stat().st_size > MAX_YAML:
            raise SourceError(f"{file}: {file.stat().st_size} bytes are no data.yaml")
        data = yaml.safe_load(read_text(file))
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise SourceError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise SourceError(f"{file}: not a mapping with `names` and `train`")
    if data.get("kpt_shape"):
        raise SourceError(f"{file}: kpt_shape: keypoints are not read, only boxes and outlines")
    return data, file


def _names(config: Mapping[str, object], file: Path) -> list[str]:
    """Class names, in the order of their ids."""
    value = config.get("names")
    if isinstance(value, dict):
        if sorted(value, key=str) != sorted(range(len(value)), key=str):
            raise SourceError(f"{file}: names: ids are not 0 to {len(value) - 1}: {list(value)}")
        value = [value[i] for i in range(len(value))]
    if not isinstance(value, list) or not value:
        raise SourceError(f"{file}: names: no list of class names")
    names = [str(name).strip() for name in value]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError(f"{file}: names: {twice!r} stands twice")
    count = config.get("nc", len(names))
    if count != len(names):
        raise SourceError(f"{file}: nc is {count}, but there are {len(names)} names")
    return names


def _root(config: Mapping[str, object], file: Path) -> Path:
    """Where the splits are: where the yaml's `path` leads, if that is there; else beside it."""
    value = config.get("path")
    there = file.parent / str(value) if value else file.parent
    return there if there.is_dir() else file.parent


def _images(value: object, root: Path, file: Path, split: str) -> tuple[list[Path], list[Finding]]:
    """The images of a split, sorted; findings for listed ones that are not there."""
    paths: dict[Path, None] = {}
    findings: list[Finding] = []
    for entry in value if isinstance(value, list) else [value]:
        place = _place(str(entry), root, file.parent)
        if place is None:
            raise SourceError(
                f"{file}: {split}: {entry}: not there. Looked for: "
                f"{root / str(entry)}; {root} holds: {listing(root)}"
            )
        if place.is_dir():
            below = files_below(place, IMAGE_SUFFIXES)
            paths |= dict.fromkeys(place / name for name in below)
            continue
        for number, line in enumerate(_lines(place, file), 1):
            path = Path(os.path.normpath(root / line.strip()))
            if path.is_file():
                paths[path] = None
            elif line.strip():
                where = f"{place.name}:{number}"
                findings.append(image_dropped("missing_image", where, line.strip()))
    if not paths:
        raise SourceError(f"{file}: {split}: {value}: no image ({some(sorted(IMAGE_SUFFIXES))})")
    return sorted(paths), findings


def _place(entry: str, root: Path, beside_yaml: Path) -> Path | None:
    """Some exports write `../train/images` and mean `train/images`."""
    plain = entry
    while plain.startswith("../"):
        plain = plain[3:]
    tries = [root / entry, beside_yaml / entry, root / plain, beside_yaml / plain]
    found = next((path for path in tries if path.exists()), None)
    return None if found is None else Path(os.path.normpath(found))


def _lines(path: Path, file: Path) -> list[str]:
    try:
        return read_text(path).splitlines()
    except ValueError as error:
        raise SourceError(f"{file}: {path}: {error}") from None


def labels_of(image: Path) -> Path:
    """Where an image's labels are: the last folder `images` is `labels` there."""
    parts = list(image.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _item(
    image: Path, root: Path, split: str, names: Sequence[str]
) -> tuple[Item | None, list[Finding], int]:
    file = labels_of(image)
    name = _relative(image, root)
    place = _relative(file, root)
    item = Item(split, _without_images(name), name, image, relative=True, upright=True)
    if not file.is_file():
        return replace(item, labelled=False), [], 0
    try:
        text = read_text(file)
    except ValueError as error:
        return None, [image_dropped("unreadable_labels", place, str(error))], 0
    lines = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    annotations: list[Annotation] = []
    findings: list[Finding] = []
    for number, line in lines:
        where = f"{place}:{number}"
        try:
            annotations.append(_annotation(line.split(), where, names))
        except _UnknownClassError as error:
            findings.append(dropped("class_out_of_range", where, str(error)))
        except ValueError as error:
            findings.append(dropped("bad_annotation", where, str(error)))
    whole = replace(item, annotations=tuple(annotations), labelled=bool(lines))
    return whole, findings, len(lines)


class _UnknownClassError(ValueError):
    """A class id that no name stands for."""


def _annotation(words: Sequence[str], place: str, names: Sequence[str]) -> Annotation:
    try:
        number, *values = [float(word) for word in words]
    except ValueError:
        raise ValueError(f"not numbers: {' '.join(words)[:60]}") from None
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise ValueError(f"{len(words)} numbers; 5 are a box, 7, 9, ... an outline")
    if not number.is_integer() or not 0 <= number < len(names):
        raise _UnknownClassError(f"class {words[0]}; data.yaml has 0 to {len(names) - 1}")
    label = names[int(number)]
    if len(values) > 4:
        return Annotation(place, label, None, Polygons((tuple(values),)))
    x, y, width, height = values
    box: Box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return Annotation(place, label, box)


def _labels_alone(images: Sequence[Path], root: Path) -> tuple[list[Finding], int]:
    """Label files in the images' own label folders that belong to none of them."""
    folders = {image.parent for image in images}
    wanted = {
        labels_of(folder / path.name)
        for folder in folders
        for path in folder.iterdir()
        if path.suffix[1:].lower() in IMAGE_SUFFIXES
    }
    findings: list[Finding] = []
    total = 0
    for folder in sorted({path.parent for path in wanted}):
        if not folder.is_dir():
            continue
        for path in sorted(folder.glob("*.txt")):
            if path in wanted or path.name == "classes.txt" or path.stem in SPLITS:
                continue
            try:
                n = sum(bool(line.strip()) for line in read_text(path).splitlines())
            except ValueError:
                n = 0
            total += n
            place = _relative(path, root)
            findings.append(dropped("labels_without_image", place, annotations=n))
    return findings, total


def _relative(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def _without_images(name: str) -> str:
    """`images/train/a.jpg` and `train/images/a.jpg` are both `train/a.jpg`."""
    parts = [part for part in PurePosixPath(name).parts if part not in ("images", "..", "/")]
    return "/".join(parts)
