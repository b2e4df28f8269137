"""Small datasets with one thing wrong in each: `SCENARIOS` has one for every slug."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.importing import header, mending
from pipeline.importing.coco import read_coco
from pipeline.importing.findings import Fate
from pipeline.importing.labelme import read_labelme
from pipeline.importing.masks import read_masks
from pipeline.importing.records import Dataset
from pipeline.importing.voc import read_voc
from pipeline.importing.yolo import read_yolo
from tests.pipeline.importing.exports import png, put

W, H = 16, 12
BOX = [2, 3, 4, 5]
OUTLINE = [2, 3, 6, 3, 6, 8, 2, 8]
NAN, INF = float("nan"), float("inf")

Scenario = Callable[[Path], Dataset]


def picture(format: str = "png", orientation: int | None = None, w: int = W, h: int = H) -> bytes:
    """A gray gradient."""
    gray = np.linspace(0, 255, w * h).reshape(h, w).astype(np.uint8)
    buffer = io.BytesIO()
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(np.stack([gray] * 3, -1)).save(buffer, format, exif=exif)
    return buffer.getvalue()


def huge() -> bytes:
    """A PNG whose header promises 10^10 pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 10**5, 10**5, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    return start + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IEND\xaeB`\x82"


def coco(
    folder: Path,
    *annotations: object,
    image: bytes | None = b"",
    keep_crowds: bool = False,
    names: tuple[str, ...] = ("cell",),
    images: tuple[object, ...] = (),
    **entry: object,
) -> Dataset:
    """Image 1 with these annotations, and image 2, in which all is well."""
    put(folder / "images" / "good.png", picture())
    whole = {"id": 1, "file_name": "a.png", "width": W, "height": H} | entry
    name = str(whole["file_name"])
    if image is not None and not name.startswith(("/", "..")):
        put(folder / "images" / name, image or picture())
    good = {"id": 2, "file_name": "good.png", "width": W, "height": H}
    fine = {"id": 1, "image_id": 2, "category_id": 1, "bbox": BOX, "iscrowd": 0}
    record = {
        "images": [whole, good, *images],
        "annotations": [fine, *annotations],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(names)],
    }
    file = put(folder / "a.json", json.dumps(record))
    return read_coco(file, folder / "images", split="train", keep_crowds=keep_crowds)


def one(box: object = BOX, segmentation: object = None, **more: object) -> dict[str, object]:
    """An annotation of image 1."""
    own = {"id": 9, "image_id": 1, "category_id": 1, "bbox": box, "iscrowd": 0}
    return own | ({} if segmentation is None else {"segmentation": segmentation}) | more


def annotated(*annotations: object, **more: object) -> Scenario:
    return lambda folder: coco(folder, *annotations, **more)  # type: ignore[arg-type]


def voc(
    folder: Path,
    xml: str | None = None,
    objects: tuple[tuple[int, int, int, int], ...] = ((3, 4, 6, 8),),
    difficult: int = 0,
    numbers: np.ndarray | None = None,
    size: tuple[int, int] = (W, H),
    extra: dict[str, bytes | str] | None = None,
    sets: dict[str, str] | None = None,
) -> Dataset:
    """Image a with these objects or this xml, and image good."""
    parts = "".join(
        f"<object><name>cell</name><difficult>{difficult}</difficult><bndbox><xmin>{x0}</xmin>"
        f"<ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for x0, y0, x1, y1 in objects
    )
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    for name in ("a", "good"):
        put(folder / "JPEGImages" / f"{name}.png", picture())
        put(folder / "Annotations" / f"{name}.xml", f"<annotation>{stated}{parts}</annotation>")
    if xml is not None:
        put(folder / "Annotations" / "a.xml", xml)
    if numbers is not None:
        put(folder / "SegmentationObject" / "a.png", png(numbers))
    for name, data in (extra or {}).items():
        put(folder / name, data)
    for name, text in (sets or {}).items():
        put(folder / "ImageSets" / "Main" / f"{name}.txt", text)
    return read_voc(folder)


def yolo(folder: Path, text: str | bytes | None, extra: dict[str, str] | None = None) -> Dataset:
    """Image a with these lines, and image good."""
    put(folder / "data.yaml", "train: images\nnames: [cell]\n")
    for name, lines in (("a", text), ("good", "0 .5 .5 .25 .25")):
        put(folder / "images" / f"{name}.png", picture())
        if lines is not None:
            put(folder / "labels" / f"{name}.txt", lines)
    for name, lines in (extra or {}).items():
        put(folder / name, lines)
    return read_yolo(folder)


def labelme(
    folder: Path, *shapes: dict[str, object], image: bytes | None = b"", **top: object
) -> Dataset:
    """Image a with these shapes, and image good."""
    for name, own in (("a", shapes), ("good", ())):
        record = {"shapes": own, "imagePath": f"{name}.png", "imageWidth": W, "imageHeight": H}
        put(folder / f"{name}.json", json.dumps(record | (top if name == "a" else {})))
        if name == "good" or image is not None:
            put(folder / f"{name}.png", image or picture())
    return read_labelme(folder)


def shape(kind: str, *points: tuple[float, float], **more: object) -> dict[str, object]:
    return {"label": "cell", "points": points, "shape_type": kind} | more


TRIANGLE = shape("polygon", (2, 3), (6, 3), (6, 8))


def masks(folder: Path, data: bytes | None, *, alone: bool = False, **more: object) -> Dataset:
    """Image a with this map, and image good."""
    fine = png(np.eye(H, W, dtype=np.uint8))
    for name, own in (("a", data), ("good", fine)):
        put(folder / "images" / f"{name}.png", picture())
        if own is not None:
            put(folder / "masks" / f"{name}.png", own)
    if alone:
        put(folder / "masks" / "alone.png", fine)
    return read_masks(folder / "images", folder / "masks", **more)  # type: ignore[arg-type]


def ids(value: int, h: int = H, w: int = W) -> bytes:
    return png(np.full((h, w), value, np.uint8))


def rle(*counts: int, size: tuple[int, int] = (H, W)) -> dict[str, object]:
    return {"size": list(size), "counts": list(counts)}


def with_patch(module: object, name: str, value: int, scenario: Scenario) -> Scenario:
    """Limits that no test can reach, lowered; undone by the fixture in the test."""

    def patched(folder: Path) -> Dataset:
        PATCH.setattr(module, name, value)
        return scenario(folder)

    return patched


PATCH = pytest.MonkeyPatch()


def duplicate_names(folder: Path) -> Dataset:
    put(folder / "images" / "good.jpg", picture("jpeg"))
    return coco(folder, images=({"id": 3, "file_name": "good.jpg", "width": W, "height": H},))


def unlisted(folder: Path) -> Dataset:
    put(folder / "images" / "other.png", picture())
    return coco(folder)


def painted(x: int) -> dict[str, object]:
    data = base64.b64encode(png(np.full((4, 4), 255, np.uint8))).decode()
    return shape("mask", (x, 2), (x + 3, 5), mask=data)


def renumbered(folder: Path) -> Dataset:
    return masks(folder, ids(1), ids={1: "cell", 0: "background"})


_numbers = np.zeros((H, W), np.uint8)
_numbers[8:12, 10:16] = 1
_embedded = base64.b64encode(picture()).decode()
_other = one(segmentation=[[8, 2, 12, 2, 12, 6]], id=10, bbox=[8, 2, 4, 4])
_twice: dict[str, object] = {"id": 1, "file_name": "b.png", "width": W, "height": H}

SCENARIOS: dict[str, tuple[Fate, Scenario]] = {
    "missing_image": ("dropped", annotated(one(), image=None)),
    "unreadable_image": ("dropped", annotated(one(), image=b"\xff\xd8\xff" + bytes(99))),
    "unknown_format": ("dropped", annotated(one(), image=b"GIF89a....")),
    "truncated_image": (
        "dropped",
        annotated(one(), image=picture("jpeg")[:-60], file_name="a.jpg"),
    ),
    "too_many_pixels": ("dropped", annotated(one(), image=huge())),
    "image_too_large": (
        "dropped",
        with_patch(header, "MAX_BYTES", 10**4, annotated(one(), image=picture() + bytes(10**4))),
    ),
    "wrong_suffix": ("repaired", annotated(one(), image=picture("jpeg"))),
    "size_mismatch": ("dropped", annotated(one(), width=W + 1)),
    "size_missing": ("noted", annotated(one(), width=None)),
    "exif_turned": ("repaired", annotated(one(), image=picture(orientation=6, w=H, h=W))),
    "exif_unsure": ("noted", annotated(one(), image=picture(orientation=3))),
    "duplicate_image_id": ("dropped", annotated(images=(_twice,))),
    "duplicate_key": ("repaired", duplicate_names),
    "key_renamed": ("repaired", annotated(one(), file_name="a.b.png")),
    "unsafe_path": ("dropped", annotated(one(), file_name="../../etc/passwd.png")),
    "path_repaired": (
        "repaired",
        annotated(images=({**_twice, "id": 3, "file_name": "x/good.png"},)),
    ),
    "image_embedded": ("repaired", partial(labelme, image=None, imageData=_embedded)),
    "bad_image_entry": ("dropped", annotated(images=({"id": 3},))),
    "image_not_listed": ("noted", unlisted),
    "image_without_labels": ("noted", annotated()),
    "labels_without_image": (
        "dropped",
        lambda at: yolo(at, "", {"labels/b.txt": "0 .5 .5 .1 .1\n"}),
    ),
    "not_in_split": ("dropped", lambda at: voc(at, sets={"train": "good\n"})),
    "unlisted_image": ("dropped", lambda at: voc(at, sets={"train": "good\ngone\na\n"})),
    "unreadable_labels": ("dropped", lambda at: voc(at, xml="<annotation><object>")),
    "unsafe_xml": (
        "dropped",
        lambda at: voc(at, xml='<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>'),
    ),
    "bad_annotation": ("dropped", annotated(one([1, 2, 3]), "x", one(segmentation=[[1, 2, "a"]]))),
    "annotation_without_image": ("dropped", annotated(one(image_id=77))),
    "unknown_category": ("dropped", annotated(one(category_id=77))),
    "class_out_of_range": ("dropped", lambda at: yolo(at, "1 .5 .5 .2 .2\n-1 .5 .5 .2 .2\n")),
    "bad_class_name": ("dropped", annotated(one(category_id=2), names=("cell", "a\nb"))),
    "crowd": ("dropped", annotated(one(iscrowd=1, segmentation=rle(10, 5, W * H - 15)))),
    "difficult": ("noted", lambda at: voc(at, difficult=1)),
    "duplicate_object": ("dropped", annotated(one(), one(id=10))),
    "box_missing": ("repaired", annotated(one(None, [OUTLINE]))),
    "box_not_finite": ("dropped", annotated(one([NAN, 1, 2, 3]), one([1, 1, INF, 3], id=10))),
    "box_reversed": ("repaired", annotated(one([6, 3, -4, 5]))),
    "box_empty": ("dropped", annotated(one([2, 3, 0, 5]))),
    "box_outside": ("dropped", annotated(one([W + 2, 3, 4, 5]))),
    "box_clipped": ("repaired", annotated(one([W - 2, 3, 7, 5]))),
    "box_not_of_mask": ("repaired", annotated(one([0, 0, W, H], [OUTLINE]))),
    "polygon_too_short": ("repaired", annotated(one(segmentation=[[1, 2, 3, 4]]))),
    "polygon_not_finite": ("repaired", annotated(one(segmentation=[[1, 2, NAN, 4, 5, 6]]))),
    "polygon_far_out": ("repaired", annotated(one(segmentation=[[1, 2, 1e9, 4, 5, 6]]))),
    "polygon_clipped": ("repaired", annotated(one([10, 3, 6, 5], [[10, 3, 19, 3, 19, 8, 10, 8]]))),
    "bad_rle": ("repaired", annotated(one(segmentation=rle(1, 2, 3)))),
    "mask_empty": ("dropped", annotated(one(segmentation=rle(W * H)))),
    "masks_incomplete": ("repaired", annotated(one(), _other)),
    "masks_too_large": (
        "repaired",
        with_patch(
            mending, "MAX_MASK_PIXELS", W * H, annotated(one(segmentation=[OUTLINE]), _other)
        ),
    ),
    "shape_without_area": ("dropped", lambda at: labelme(at, shape("point", (1, 1)))),
    "rectangle_as_mask": (
        "noted",
        lambda at: labelme(at, TRIANGLE, shape("rectangle", (9, 9), (12, 11))),
    ),
    "mask_clipped": ("repaired", lambda at: labelme(at, painted(W - 2))),
    "object_map_mismatch": ("repaired", lambda at: voc(at, numbers=_numbers)),
    "missing_mask": ("dropped", lambda at: masks(at, None)),
    "mask_without_image": ("dropped", lambda at: masks(at, ids(1), alone=True)),
    "bad_class_map": ("dropped", lambda at: masks(at, picture())),
    "class_map_size": ("dropped", lambda at: masks(at, ids(1, H + 1))),
    "class_map_rewritten": ("repaired", renumbered),
}
