"""What every format is read into, before anything is checked against the image.

Boxes and outlines are as the file means them (xyxy, half-open), in pixels or, where an item is
`relative`, in shares of the image's width and height.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.importing.findings import Finding

Box = tuple[float, float, float, float]
Runs = tuple[int, ...]
"""COCO's uncompressed run lengths: column by column, the first of zeros."""


@dataclass(frozen=True)
class Polygons:
    """Outlines x0 y0 x1 y1 ...; the mask is their union."""

    parts: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Rle:
    """Run lengths, as numbers or as COCO's compressed text; `size` is (height, width)."""

    size: tuple[int, int]
    counts: Runs | str


@dataclass(frozen=True)
class Patch:
    """A mask of this (height, width), with its first pixel at (x, y) of the image."""

    x: int
    y: int
    size: tuple[int, int]
    counts: Runs


@dataclass(frozen=True)
class ObjectId:
    """The pixels with this number in the item's map of objects."""

    number: int


Mask = Polygons | Rle | Patch | ObjectId


@dataclass(frozen=True)
class Annotation:
    """One object as its file has it; `count`: how many of the file's annotations it joins."""

    place: str
    label: str
    box: Box | None = None
    mask: Mask | None = None
    findings: tuple[Finding, ...] = ()
    count: int = 1


@dataclass(frozen=True)
class Item:
    """One image and what is said of it. `name`: its path with the suffix, as in the dataset.

    `upright`: where sizes cannot tell, the labels are of the image as EXIF turns it.
    """

    split: str
    name: str
    place: str
    image: Path | bytes
    annotations: tuple[Annotation, ...] = ()
    findings: tuple[Finding, ...] = ()
    stated_wh: tuple[int, int] | None = None
    labelled: bool = True
    masks_known: bool = False
    relative: bool = False
    upright: bool = False
    class_map: Path | None = None
    object_map: Path | None = None

    @property
    def total(self) -> int:
        """How many of the file's annotations are in it."""
        return sum(annotation.count for annotation in self.annotations)


@dataclass(frozen=True)
class Dataset:
    """A whole dataset as read. `images` and `annotations`: how many its files hold, counted there;
    `ids`: class-id maps are renumbered, from the first to the second.
    """

    format: str
    name: str
    items: tuple[Item, ...]
    findings: tuple[Finding, ...]
    images: int
    annotations: int
    classes: tuple[str, ...]
    seg_classes: tuple[str, ...] = ()
    ids: tuple[tuple[int, int], ...] | None = None
