"""Pascal VOC: Annotations/*.xml, JPEGImages/, and where they are there ImageSets/,
SegmentationClass/ and SegmentationObject/.

Numbers begin at 1 and include the last pixel, as in VOC's development kit: (1, 1, width, height)
is the whole image, here (0, 0, width, height). Tools that count from 0 need `first_pixel=0`. In a
map of objects, the objects are numbered in the order of the xml.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from pipeline.importing.files import (
    IMAGE_SUFFIXES,
    UnsafeXmlError,
    files_below,
    listing,
    need_folder,
    read_text,
    read_xml,
    some,
    stem_of,
)
from pipeline.importing.findings import Finding, dropped, image_dropped, noted, repaired
from pipeline.importing.records import Annotation, Box, Dataset, Item, ObjectId
from schemas.errors import SourceError

IMAGES, LABELS, SETS = "JPEGImages", "Annotations", "ImageSets"
CLASS_MAPS, OBJECT_MAPS = "SegmentationClass", "SegmentationObject"
SPLITS: Final = ("train", "val", "test")

VOC_CLASSES: Final = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)


def read_voc(
    folder: Path, *, splits: Sequence[str] = (), sets: str = "Main", first_pixel: int = 1
) -> Dataset:
    """The splits asked for; else train, val and test as ImageSets has them; else all, as train."""
    _check(folder)
    files = files_below(folder / IMAGES, IMAGE_SUFFIXES)
    images = {stem_of(name): name for name in reversed(files)}
    labels = {stem_of(name): name for name in files_below(folder / LABELS, ["xml"])}
    maps = _maps(folder)
    findings: list[Finding] = []
    items: list[Item] = []
    lost_names = 0
    annotations = 0
    taken: set[str] = set()
    for split, stems in _splits(folder, splits, sets, [*labels, *images]).items():
        for stem in stems:
            taken.add(stem)
            if stem not in labels and stem not in images:
                findings.append(image_dropped("unlisted_image", f"{SETS}/{sets}/{split}.txt", stem))
                lost_names += 1
            elif stem not in labels:
                findings.append(image_dropped("image_without_labels", images[stem], ""))
            else:
                place = f"{LABELS}/{labels[stem]}"
                item, found, n = _item(folder, place, images.get(stem), split, maps, first_pixel)
                items += [item] if item else []
                findings += found
                annotations += n
    findings += [
        image_dropped("not_in_split", name) for s, name in images.items() if s not in taken
    ]
    if not any(isinstance(item.image, Path) for item in items):
        first = findings[0] if findings else None
        raise SourceError(
            f"{folder}: not one image with labels"
            + (f"; {first.place}: {first.slug}" if first else "")
            + f". {IMAGES} holds: {listing(folder / IMAGES)}; {LABELS}: {listing(folder / LABELS)}"
        )
    listed = len({*images} | ({*labels} & taken)) + lost_names
    return Dataset(
        "voc",
        folder.resolve().name,
        tuple(items),
        tuple(findings),
        listed,
        annotations,
        _classes(items),
        _seg_classes(folder, items) if maps[CLASS_MAPS] else (),
    )


def _check(folder: Path) -> None:
    need_folder(folder, f"a folder with {LABELS} and {IMAGES}")
    missing = [name for name in (LABELS, IMAGES) if not (folder / name).is_dir()]
    if not missing:
        return
    below = sorted(path.parent for path in folder.glob(f"*/{LABELS}"))
    below += sorted(path.parent for path in folder.glob(f"*/*/{LABELS}"))
    hint = f" Did you mean {below[0]}?" if below else ""
    raise SourceError(
        f"{folder}: no folder {' and '.join(missing)}. A Pascal VOC folder has {LABELS} (xml) and "
        f"{IMAGES}; this one holds: {listing(folder)}.{hint}"
    )


def _maps(folder: Path) -> dict[str, dict[str, Path]]:
    """Class-id maps and maps of objects by their stem."""
    return {
        kind: {stem_of(n): folder / kind / n for n in files_below(folder / kind, ["png"])}
        for kind in (CLASS_MAPS, OBJECT_MAPS)
    }


def _splits(
    folder: Path, wanted: Sequence[str], sets: str, stems: Sequence[str]
) -> dict[str, list[str]]:
    """The stems of each split, in the order of the file."""
    at = folder / SETS / sets
    there = sorted(path.stem for path in at.glob("*.txt")) if at.is_dir() else []
    names = list(wanted) or [name for name in SPLITS if name in there]
    if not names:
        return {"train": sorted(set(stems))}
    gone = [name for name in names if name not in there]
    if gone:
        raise SourceError(f"{at}: no {gone[0]}.txt; there are: {some(there)}")
    return {name: _stems(at / f"{name}.txt") for name in names}


def _stems(path: Path) -> list[str]:
    try:
        lines = [line.split() for line in read_text(path).splitlines()]
    except ValueError as error:
        raise SourceError(f"{path}: {error}") from None
    # Lists of one class have a second column: 1, 0 or -1.
    return list(dict.fromkeys(words[0] for words in lines if words))


def _item(
    folder: Path,
    place: str,
    image: str | None,
    split: str,
    maps: Mapping[str, Mapping[str, Path]],
    first_pixel: int,
) -> tuple[Item | None, list[Finding], int]:
    """One xml: its item or why there is none, and how many objects it holds."""
    try:
        root = read_xml(folder / place)
    except ValueError as error:
        slug = "unsafe_xml" if isinstance(error, UnsafeXmlError) else "unreadable_labels"
        return None, [image_dropped(slug, place, str(error))], 0
    objects = root.findall("object")
    findings: list[Finding] = []
    if image is None:
        named = (root.findtext("filename") or "").strip()
        if not named or "/" in named or not (folder / IMAGES / named).is_file():
            lost = image_dropped("missing_image", place, named, annotations=len(objects))
            return None, [lost], len(objects)
        image = named
        findings.append(repaired("path_repaired", place, f"found as {named}"))
    stem = stem_of(image)
    object_map = maps[OBJECT_MAPS].get(stem)
    annotations: list[Annotation] = []
    lost_here: list[Finding] = []
    for i, entry in enumerate(objects):
        where = f"{place}: object[{i}]"
        try:
            annotations.append(_annotation(entry, where, first_pixel, i, object_map is not None))
        except ValueError as error:
            lost_here.append(dropped("bad_annotation", where, str(error)))
    item = Item(
        split,
        image,
        place,
        folder / IMAGES / image,
        tuple(annotations),
        tuple(findings),
        _size(root),
        labelled=bool(objects),
        masks_known=object_map is not None,
        class_map=maps[CLASS_MAPS].get(stem),
        object_map=object_map,
    )
    return item, lost_here, len(objects)


def _annotation(
    entry: Element, place: str, first_pixel: int, i: int, segmented: bool
) -> Annotation:
    label = (entry.findtext("name") or "").strip()
    found: tuple[Finding, ...] = ()
    if (entry.findtext("difficult") or "0").strip() == "1":
        found = (noted("difficult", place, label),)
    mask = ObjectId(i + 1) if segmented else None
    frame = entry.find("bndbox")
    if frame is None:
        return Annotation(place, label, None, mask, found)
    texts = [(frame.findtext(side) or "").strip() for side in ("xmin", "ymin", "xmax", "ymax")]
    try:
        x0, y0, x1, y1 = (float(text) for text in texts)
    except ValueError:
        raise ValueError(f"bndbox holds {', '.join(map(repr, texts))}") from None
    box: Box = (x0 - first_pixel, y0 - first_pixel, x1, y1)
    return Annotation(place, label, box, mask, found)


def _size(root: Element) -> tuple[int, int] | None:
    """As stated; many tools leave zeros."""
    try:
        width, height = (int(root.findtext(f"size/{side}") or 0) for side in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def _classes(items: Sequence[Item]) -> tuple[str, ...]:
    found = {a.label for item in items for a in item.annotations}
    return tuple(name for name in VOC_CLASSES if name in found) + tuple(
        sorted(found - {*VOC_CLASSES})
    )


def _seg_classes(folder: Path, items: Sequence[Item]) -> tuple[str, ...]:
    """Names of the ids: from labelmap.txt where there is one, else VOC's own if the boxes' are."""
    listed = folder / "labelmap.txt"
    if listed.is_file():
        try:
            lines = read_text(listed).splitlines()
        except ValueError as error:
            raise SourceError(f"{listed}: {error}") from None
        names = [line.partition(":")[0].strip() for line in lines]
        return tuple(name for name in names if name and not name.startswith("#"))
    own = {annotation.label for item in items for annotation in item.annotations}
    return ("background", *VOC_CLASSES) if own and own <= {*VOC_CLASSES} else ()
