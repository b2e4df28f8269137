"""LabelMe: one json beside each image, with outlines, rectangles, circles and painted masks.

A rectangle is a box; in an image with outlines it is a filled mask too, as LabelMe's own converter
makes it. Shapes of one label and one `group_id` are one object. LabelMe shows images as EXIF turns
them. Points and lines are dropped.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from pipeline.importing.coco import numbers
from pipeline.importing.files import (
    IMAGE_SUFFIXES,
    files_below,
    inside,
    listing,
    need_folder,
    read_json,
    stem_of,
)
from pipeline.importing.findings import Finding, dropped, image_dropped, noted, repaired
from pipeline.importing.header import MAX_PIXELS
from pipeline.importing.records import Annotation, Box, Dataset, Item, Patch, Polygons
from pipeline.labels.geometry import rle_encode
from schemas.errors import SourceError

CIRCLE_ERROR_PX = 0.1
"""How far the sides of the drawn outline may be from the circle."""


class _ShapeError(ValueError):
    """A shape that cannot be an object; the first argument is its slug."""

    def __init__(self, slug: str, detail: str) -> None:
        super().__init__(detail)
        self.slug = slug


def read_labelme(folder: Path, *, images: Path | None = None, split: str = "train") -> Dataset:
    """All json files below a folder; `images`: where the images are, if not beside them."""
    need_folder(folder, "a folder of LabelMe json files")
    roots = [folder, *([need_folder(images, "the folder of the images")] if images else [])]
    files = files_below(folder, ["json"])
    if not files:
        raise SourceError(
            f"{folder}: no json file. Looked for: LabelMe annotations beside their images; "
            f"{folder} holds: {listing(folder)}"
        )
    items: list[Item] = []
    findings: list[Finding] = []
    annotations = 0
    used: set[Path] = set()
    there = {root: files_below(root, IMAGE_SUFFIXES) for root in roots}
    stems = {root / stem_of(name): root / name for root in roots for name in there[root]}
    for name in files:
        item, found, n = _item(name, roots, stems, split)
        items += [item] if item else []
        findings += found
        annotations += n
        used |= {item.image} if item and isinstance(item.image, Path) else set()
    if not items:
        first = findings[0]
        raise SourceError(
            f"{folder}: not one of {len(files)} json files has an image; {first.place}: "
            f"{first.slug}: {first.detail}"
        )
    unused = [root / name for root in roots for name in there[root] if root / name not in used]
    for path in dict.fromkeys(unused):
        findings.append(image_dropped("image_without_labels", _relative(path, roots)))
    classes = sorted({a.label for item in items for a in item.annotations})
    return Dataset(
        "labelme",
        folder.resolve().name,
        tuple(items),
        tuple(findings),
        len(files) + len(set(unused)),
        annotations,
        tuple(classes),
    )


def _relative(path: Path, roots: Sequence[Path]) -> str:
    root = next(root for root in roots if path.is_relative_to(root))
    return path.relative_to(root).as_posix()


def _item(
    name: str, roots: Sequence[Path], stems: Mapping[Path, Path], split: str
) -> tuple[Item | None, list[Finding], int]:
    try:
        top = read_json(roots[0] / name)
        if not isinstance(top, dict) or not isinstance(top.get("shapes"), list):
            raise ValueError("no LabelMe file: it has no list of shapes")
    except ValueError as error:
        return None, [image_dropped("unreadable_labels", name, str(error))], 0
    shapes = top["shapes"]
    image, findings = _image(name, top, roots, stems)
    if image is None:
        detail = str(top.get("imagePath"))
        return (
            None,
            [image_dropped("missing_image", name, detail, annotations=len(shapes))],
            len(shapes),
        )
    wh = (top.get("imageWidth"), top.get("imageHeight"))
    stated = (wh[0], wh[1]) if type(wh[0]) is int and type(wh[1]) is int else None
    annotations, lost = _shapes(shapes, name)
    named = _relative(image, roots) if isinstance(image, Path) else stem_of(name) + ".png"
    item = Item(
        split,
        named,
        name,
        image,
        tuple(annotations),
        tuple(findings),
        stated,
        labelled=bool(shapes),
        upright=True,
    )
    return item, lost, len(shapes)


def _image(
    name: str, top: Mapping[str, object], roots: Sequence[Path], stems: Mapping[Path, Path]
) -> tuple[Path | bytes | None, list[Finding]]:
    """The file that the json names, one of its name beside it, or what is embedded in it."""
    said = str(top.get("imagePath") or "").replace("\\", "/")
    folder = PurePosixPath(name).parent.as_posix()
    for root in roots:
        path = inside(root, f"{folder}/{said}") if said else None
        if path is not None and path.is_file() and path.suffix[1:].lower() in IMAGE_SUFFIXES:
            return path, []
    for root in roots:
        near = [root / stem_of(name), root / folder / stem_of(PurePosixPath(said).name or "-")]
        for stem in near:
            if stem in stems:
                path = stems[stem]
                detail = f"{said or 'no imagePath'}: found as {_relative(path, roots)}"
                return path, [repaired("path_repaired", name, detail)]
    data = top.get("imageData")
    if isinstance(data, str) and data:
        try:
            return base64.b64decode(data, validate=True), [repaired("image_embedded", name, said)]
        except binascii.Error:
            return None, []
    return None, []


@dataclass(frozen=True)
class _Shape:
    """One usable shape. A rectangle is a box, and its outline where others have one."""

    annotation: Annotation
    outline: Polygons | None
    group: object


def _shapes(shapes: Sequence[object], name: str) -> tuple[list[Annotation], list[Finding]]:
    found: list[_Shape] = []
    lost: list[Finding] = []
    for i, shape in enumerate(shapes):
        place = f"{name}: shapes[{i}]"
        try:
            found.append(_shape(shape, place))
        except _ShapeError as error:
            lost.append(dropped(error.slug, place, str(error)))
        except ValueError as error:
            lost.append(dropped("bad_annotation", place, str(error)))
    outlined = any(shape.annotation.mask is not None for shape in found)
    whole = [_filled(shape) if outlined else shape.annotation for shape in found]
    groups: dict[object, list[Annotation]] = {}
    for i, (shape, annotation) in enumerate(zip(found, whole, strict=True)):
        joined = shape.group is not None and isinstance(annotation.mask, Polygons)
        key = (annotation.label, str(shape.group)) if joined else i
        groups.setdefault(key, []).append(annotation)
    return [_joined(members) for members in groups.values()], lost


def _filled(shape: _Shape) -> Annotation:
    """With a mask: its own, or that of its rectangle."""
    annotation = shape.annotation
    if annotation.mask is not None:
        return annotation
    told = noted("rectangle_as_mask", annotation.place, annotation.label)
    return replace(annotation, mask=shape.outline, findings=(*annotation.findings, told))


def _joined(members: Sequence[Annotation]) -> Annotation:
    """One object of several outlines."""
    parts = [part for m in members if isinstance(m.mask, Polygons) for part in m.mask.parts]
    if len(members) == 1:
        return members[0]
    return replace(members[0], mask=Polygons(tuple(parts)), box=None, count=len(members))


def _shape(shape: object, place: str) -> _Shape:
    if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
        raise ValueError("no list of points")
    label = shape.get("label")
    if not isinstance(label, str):
        raise ValueError(f"label is {label!r}")
    label, group = label.strip(), shape.get("group_id")
    points = [x for point in shape["points"] for x in _point(point)]
    kind = shape.get("shape_type") or "polygon"
    match kind:
        case "polygon":
            outline = Polygons((tuple(points),))
            return _Shape(Annotation(place, label, None, outline), outline, group)
        case "rectangle" if len(points) >= 4:
            box = _bounds(points)
            x0, y0, x1, y1 = box
            filled = Polygons(((x0, y0, x1, y0, x1, y1, x0, y1),))
            return _Shape(Annotation(place, label, box), filled, group)
        case "circle" if len(points) == 4:
            outline = _circle(points)
            return _Shape(Annotation(place, label, None, outline), outline, group)
        case "mask" if len(points) == 4:
            return _painted(shape.get("mask"), points, Annotation(place, label), group)
        case "point" | "points" | "line" | "linestrip":
            raise _ShapeError("shape_without_area", f"{label}: a {kind}")
    raise ValueError(f"a {kind} of {len(points) // 2} points")


def _point(point: object) -> list[float]:
    values = numbers(point)
    if len(values) != 2:
        raise ValueError(f"{str(point)[:40]} is no point")
    return values


def _bounds(points: Sequence[float]) -> Box:
    """The corners may be in any order; that is LabelMe's way and no mistake."""
    xs, ys = points[::2], points[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _circle(points: Sequence[float]) -> Polygons:
    """From its middle and a point on it."""
    x, y, x1, y1 = points
    radius = math.hypot(x1 - x, y1 - y)
    if not math.isfinite(radius):
        raise _ShapeError("polygon_not_finite", "a circle")
    if radius == 0:
        raise _ShapeError("box_empty", "a circle without a radius")
    flat = min(1.0, CIRCLE_ERROR_PX / radius)
    n = min(max(12, math.ceil(math.pi / math.acos(1 - flat))), 4096)
    turns = [2 * math.pi * i / n for i in range(n)]
    parts = [c for t in turns for c in (x + radius * math.cos(t), y + radius * math.sin(t))]
    return Polygons((tuple(parts),))


def _painted(value: object, points: Sequence[float], bare: Annotation, group: object) -> _Shape:
    """A mask as a picture of its own, with its corner at the first point."""
    if not isinstance(value, str) or not all(map(math.isfinite, points)):
        raise ValueError("a mask without its picture")
    try:
        data = base64.b64decode(value, validate=True)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{picture.width}x{picture.height} pixels")
            mask_hw = np.array(picture.convert("L")) > 0
    except (binascii.Error, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"the picture of a mask: {error}") from None
    hw = (int(mask_hw.shape[0]), int(mask_hw.shape[1]))
    patch = Patch(round(points[0]), round(points[1]), hw, tuple(rle_encode(mask_hw)))
    return _Shape(replace(bare, mask=patch), None, group)
