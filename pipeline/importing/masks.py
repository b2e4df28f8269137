"""Images and class-id maps: two folders with files of the same names.

A map is a gray or palette PNG whose numbers are class ids; 255 is a pixel that nobody labelled.
Other numbers, such as 0 and 255 of a mask in black and white, are given names and are renumbered
in the order of the names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.importing.class_maps import ids_of
from pipeline.importing.files import (
    IMAGE_SUFFIXES,
    files_below,
    listing,
    need_folder,
    some,
    stem_of,
)
from pipeline.importing.findings import Finding, image_dropped
from pipeline.importing.records import Dataset, Item
from schemas.errors import SampleError, SourceError
from schemas.sample import IGNORE_ID

LOOKED_AT: Final = 16
"""Maps that are looked at to see whether 255 is meant as a class."""


def read_masks(
    images: Path,
    masks: Path,
    *,
    split: str = "train",
    mask_suffix: str = "",
    ids: Mapping[int, str] | None = None,
) -> Dataset:
    """Pairs `a.jpg` with `a<mask_suffix>.png`; `ids`: what the numbers in the maps stand for."""
    need_folder(images, "the folder of images")
    need_folder(masks, "the folder of class-id maps")
    pictures = files_below(images, IMAGE_SUFFIXES)
    maps = {stem_of(name): name for name in files_below(masks, IMAGE_SUFFIXES)}
    stems = [stem_of(name) for name in pictures]
    pairs = [
        (name, maps[stem + mask_suffix])
        for name, stem in zip(pictures, stems, strict=True)
        if stem + mask_suffix in maps
    ]
    if not pairs:
        raise SourceError(_unpaired(images, masks, pictures, sorted(maps.values()), mask_suffix))
    if ids is None:
        _check_black_and_white([masks / name for _, name in pairs], masks)
    findings: list[Finding] = []
    with_map = {name for name, _ in pairs}
    findings += [image_dropped("missing_mask", name) for name in pictures if name not in with_map]
    paired = {name for _, name in pairs}
    findings += [
        Finding("mask_without_image", "dropped", name)
        for name in sorted(maps.values())
        if name not in paired
    ]
    items = [Item(split, name, name, images / name, class_map=masks / mask) for name, mask in pairs]
    renumber = None if ids is None else tuple((value, i) for i, value in enumerate(ids))
    return Dataset(
        "masks",
        images.resolve().name,
        tuple(items),
        tuple(findings),
        len(pictures),
        0,
        (),
        tuple(ids.values()) if ids else (),
        renumber,
    )


def parse_ids(texts: Sequence[str]) -> dict[int, str] | None:
    """`["0=background", "255=cell"]` by number; SourceError for anything else."""
    ids: dict[int, str] = {}
    for text in texts:
        number, equals, name = text.partition("=")
        if not (equals and name.strip() and number.isdigit() and int(number) <= IGNORE_ID):
            raise SourceError(f"--class {text}: it must be ID=NAME, with an id of 0 to 255")
        if int(number) in ids or name.strip() in ids.values():
            raise SourceError(f"--class {text}: its id or its name stands twice")
        ids[int(number)] = name.strip()
    return ids or None


def _unpaired(
    images: Path, masks: Path, pictures: Sequence[str], maps: Sequence[str], suffix: str
) -> str:
    if not pictures or not maps:
        empty = masks if pictures else images
        return (
            f"{empty}: no image in it ({some(sorted(IMAGE_SUFFIXES))}); it holds: {listing(empty)}"
        )
    first = stem_of(pictures[0])
    near = next((stem_of(name) for name in maps if stem_of(name).startswith(first)), None)
    hint = f" Try --mask-suffix {near[len(first) :]}" if near else ""
    return (
        f"{masks}: no map fits an image in {images}. Looked for: {first}{suffix}.png; "
        f"there are: {some(maps, 4)}.{hint}"
    )


def _check_black_and_white(paths: Sequence[Path], masks: Path) -> None:
    """255 means unlabelled: a set of maps of nothing else would be silently empty."""
    step = max(1, len(paths) // LOOKED_AT)
    values: set[int] = set()
    for path in paths[::step][:LOOKED_AT]:
        try:
            values |= set(np.unique(ids_of(path.read_bytes())).tolist())
        except (SampleError, OSError):
            continue
    if IGNORE_ID in values and values <= {0, IGNORE_ID}:
        raise SourceError(
            f"{masks}: the maps hold 0 and 255 only, and 255 stands for unlabelled. If it is a "
            "class, name both: --class 0=background --class 255=<name>"
        )
