"""COCO: one json of images, annotations and categories, and a folder of images.

Boxes are [x, y, width, height]; outlines, run lengths and compressed run lengths become masks.
Crowds (one outline around many objects) are no instances and are dropped, unless asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from pipeline.importing.files import (
    IMAGE_SUFFIXES,
    beside,
    files_below,
    inside,
    listing,
    need_folder,
    read_json,
)
from pipeline.importing.findings import Finding, dropped, image_dropped, noted, repaired
from pipeline.importing.records import Annotation, Box, Dataset, Item, Mask, Polygons, Rle
from schemas.errors import SourceError

LISTS: Final = ("images", "annotations", "categories")
MAX_ID: Final = 2**53


@dataclass(frozen=True)
class _Image:
    """One usable entry of the images."""

    place: str
    file: str
    wh: tuple[int, int] | None


def read_coco(annotations: Path, images: Path, *, split: str, keep_crowds: bool) -> Dataset:
    """SourceError where it is no COCO file, or not one of its images is in the folder."""
    need_folder(images, "the folder of the images that the json names")
    tops = dict(zip(LISTS, _lists(annotations), strict=True))
    names = _categories(tops["categories"], annotations)
    findings: list[Finding] = []
    entries = _images(tops["images"], annotations.name, findings)
    of_image = _annotations(
        tops["annotations"], annotations.name, entries, names, keep_crowds, findings
    )
    there = files_below(images, IMAGE_SUFFIXES)
    files = _Files(images, frozenset(there), _by_name(there))
    items, used = [], set()
    for image_id, entry in entries.items():
        own = tuple(of_image.get(image_id, ()))
        path, found = files.find(entry)
        if path is None:
            n = sum(annotation.count for annotation in own)
            slug, detail = found[0].slug, found[0].detail
            findings.append(image_dropped(slug, entry.place, detail, annotations=n))
            continue
        name = path.relative_to(images).as_posix()
        used.add(name)
        items.append(
            Item(split, name, entry.place, path, own, tuple(found), entry.wh, labelled=bool(own))
        )
    if entries and not items:
        first = next(iter(entries.values()))
        raise SourceError(
            f"{annotations}: not one of its {len(entries)} images is in {images}. "
            f"Looked for: {first.file}; {images} holds: {listing(images)}"
        )
    findings += [noted("image_not_listed", name) for name in there if name not in used]
    images_in, annotations_in = len(tops["images"]), len(tops["annotations"])
    return Dataset(
        "coco",
        annotations.stem,
        tuple(items),
        tuple(findings),
        images_in,
        annotations_in,
        tuple(dict.fromkeys(names.values())),
    )


@dataclass(frozen=True)
class _Files:
    """The image files there are, by their path and by their name alone."""

    folder: Path
    paths: frozenset[str]
    by_name: Mapping[str, str | None]

    def find(self, entry: _Image) -> tuple[Path | None, list[Finding]]:
        path = inside(self.folder, entry.file)
        if path is not None:
            name = path.relative_to(self.folder).as_posix()
            if name in self.paths or path.is_file():
                return path, []
        base = PurePosixPath(entry.file.replace("\\", "/")).name
        other = self.by_name.get(base)
        if other is not None:
            detail = f"{entry.file}: found as {other}"
            return self.folder / other, [repaired("path_repaired", entry.place, detail)]
        slug = "unsafe_path" if path is None else "missing_image"
        return None, [image_dropped(slug, entry.place, entry.file)]


def _by_name(paths: Sequence[str]) -> dict[str, str | None]:
    """Path by file name; None for a name that stands in two folders."""
    found: dict[str, str | None] = {}
    for path in paths:
        base = path.rpartition("/")[2]
        found[base] = None if base in found else path
    return found


def _lists(path: Path) -> list[list[object]]:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else f"no such file; {beside(path)}"
        raise SourceError(f"{path}: {what}. Looked for: a COCO json (instances_*.json)")
    try:
        top = read_json(path)
    except ValueError as error:
        raise SourceError(f"{path}: {error}") from None
    if not isinstance(top, dict):
        raise SourceError(f"{path}: holds a {type(top).__name__}, not an object with {LISTS}")
    lists = [top.get(name) for name in LISTS]
    wrong = [name for name, value in zip(LISTS, lists, strict=True) if not isinstance(value, list)]
    if wrong:
        there = ", ".join(sorted(map(str, top))) or "nothing"
        raise SourceError(
            f"{path}: no list of {' and '.join(wrong)}. A COCO file has {', '.join(LISTS)}; "
            f"this one has: {there}"
        )
    return [value for value in lists if isinstance(value, list)]


def _categories(entries: Sequence[object], path: Path) -> dict[int, str]:
    """Names by id, in the order of the ids."""
    names: dict[int, str] = {}
    for i, entry in enumerate(entries):
        number = _id(entry, "id")
        name = entry.get("name") if isinstance(entry, dict) else None
        if number is None or not isinstance(name, str):
            raise SourceError(f"{path}: categories[{i}] has no id or no name: {str(entry)[:80]}")
        if names.setdefault(number, name.strip()) != name.strip():
            raise SourceError(
                f"{path}: categories[{i}]: id {number} is both {names[number]!r} and {name!r}"
            )
    if not names:
        raise SourceError(f"{path}: categories is empty; without them no annotation has a class")
    return dict(sorted(names.items()))


def _images(
    entries: Sequence[object], file: str, findings: list[Finding]
) -> dict[int | str, _Image]:
    """Usable entries by their id."""
    images: dict[int | str, _Image] = {}
    for i, entry in enumerate(entries):
        place = f"{file}: images[{i}]"
        image_id = _image_id(entry, "id")
        name = entry.get("file_name") if isinstance(entry, dict) else None
        if image_id is None or not isinstance(name, str) or not name:
            findings.append(image_dropped("bad_image_entry", place, str(entry)[:80]))
        elif image_id in images:
            findings.append(image_dropped("duplicate_image_id", place, f"id {image_id}: {name}"))
        else:
            sides = [_id(entry, side) for side in ("width", "height")]
            wh = (sides[0], sides[1]) if sides[0] and sides[1] else None
            images[image_id] = _Image(place, name, wh)
    return images


def _annotations(
    entries: Sequence[object],
    file: str,
    images: Mapping[int | str, _Image],
    names: Mapping[int, str],
    keep_crowds: bool,
    findings: list[Finding],
) -> dict[int | str, list[Annotation]]:
    of_image: dict[int | str, list[Annotation]] = {}
    for i, entry in enumerate(entries):
        place = f"{file}: annotations[{i}]"
        image_id = _image_id(entry, "image_id")
        if not isinstance(entry, dict) or image_id is None:
            findings.append(dropped("bad_annotation", place, str(entry)[:80]))
            continue
        place += f" (id {entry['id']})" if isinstance(entry.get("id"), int) else ""
        if image_id not in images:
            findings.append(dropped("annotation_without_image", place, f"image {image_id}"))
            continue
        category = _id(entry, "category_id")
        if category is None or category not in names:
            detail = f"{entry.get('category_id')!r}; there are: {_span(names)}"
            findings.append(dropped("unknown_category", place, detail))
            continue
        if entry.get("iscrowd") and not keep_crowds:
            findings.append(dropped("crowd", place, names[category]))
            continue
        own = of_image.setdefault(image_id, [])
        try:
            own.append(_annotation(entry, place, names[category]))
        except ValueError as error:
            findings.append(dropped("bad_annotation", place, str(error)))
    return of_image


def _annotation(entry: Mapping[str, object], place: str, label: str) -> Annotation:
    """ValueError where box or mask are not what COCO says."""
    mask = _mask(entry.get("segmentation"))
    value = entry.get("bbox")
    if value is None or value == []:
        missing = (repaired("box_missing", place, "the mask's is taken"),) if mask else ()
        return Annotation(place, label, None, mask, missing)
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError(f"bbox is {str(value)[:60]}, not [x, y, width, height]")
    x, y, width, height = numbers(value)
    box: Box = (x, y, x + width, y + height)
    return Annotation(place, label, box, mask)


def _mask(value: object) -> Mask | None:
    if value in (None, [], {}):
        return None
    if isinstance(value, dict):
        return _rle(value)
    if isinstance(value, list):
        parts = value if all(isinstance(part, list) for part in value) else [value]
        outlines = [tuple(numbers(part)) for part in parts if part]
        if any(len(part) % 2 for part in outlines):
            raise ValueError("an outline with an odd number of coordinates")
        return Polygons(tuple(outlines))
    raise ValueError(f"segmentation is a {type(value).__name__}")


def _rle(value: Mapping[str, object]) -> Rle:
    size, counts = value.get("size"), value.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(n) is int for n in size):
        raise ValueError(f"run lengths of size {str(size)[:40]}, not [height, width]")
    if isinstance(counts, str):
        return Rle((size[0], size[1]), counts)
    if isinstance(counts, list) and all(type(count) is int for count in counts):
        return Rle((size[0], size[1]), tuple(counts))
    raise ValueError("run lengths that are neither text nor whole numbers")


def numbers(values: object) -> list[float]:
    """A list of numbers as floats (NaN and infinity too); ValueError where it is something else."""
    if not isinstance(values, list):
        raise ValueError(f"{str(values)[:40]} is no list of numbers")
    kinds = set(map(type, values))
    if not kinds <= {int, float}:
        raise ValueError(f"{str(values)[:60]} holds something else than numbers")
    if kinds == {float}:
        return values
    return [math.inf if abs(x) > MAX_ID else float(x) for x in values]


def _id(entry: object, key: str) -> int | None:
    """A whole number, also one written as 3.0."""
    value = entry.get(key) if isinstance(entry, dict) else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def _image_id(entry: object, key: str) -> int | str | None:
    """Numbers by the standard; some tools write text."""
    value = entry.get(key) if isinstance(entry, dict) else None
    return value if isinstance(value, str) else _id(entry, key)


def _span(names: Mapping[int, str]) -> str:
    some = [str(number) for number in names]
    return ", ".join(some[:6]) + (f" ... {some[-1]}" if len(some) > 6 else "")
