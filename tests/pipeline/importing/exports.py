"""Sample data in the formats that are imported, by code that knows nothing of the readers."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.codec import decode
from pipeline.source.plan import plan, read_chunk
from schemas.recipe import Source
from schemas.sample import BoolArray, ByteArray, Sample

DATA = Path(__file__).parents[3] / "data"
CLASSES = {"bccd": ("RBC", "WBC", "Platelets"), "nuclei": ("nucleus",)}


@dataclass(frozen=True, eq=False)
class Truth:
    """One image and what is really in it; masks without holes, each column one run."""

    key: str
    suffix: str
    image: bytes
    width: int
    height: int
    boxes: list[list[int]]
    labels: list[str]
    masks: list[BoolArray]
    ids: ByteArray | None


@cache
def truths(name: str, most: int = 4) -> tuple[Truth, ...]:
    """The first samples of the validation shard of a sample dataset."""
    with tarfile.open(DATA / name / "val-000000.tar") as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    keys = list(dict.fromkeys(name.partition(".")[0] for name in files))[:most]
    return tuple(_truth(key, files) for key in keys)


def _truth(key: str, files: dict[str, bytes]) -> Truth:
    suffix = "jpg" if f"{key}.jpg" in files else "png"
    record = json.loads(files[f"{key}.json"])
    boxes, labels = record["boxes"], record["labels"]
    seg = files.get(f"{key}.seg.png")
    ids = None if seg is None else np.array(Image.open(io.BytesIO(seg)))
    masks: list[BoolArray] = []
    if ids is not None:
        taken = np.zeros(ids.shape, bool)
        kept = []
        for i, (x0, y0, x1, y1) in enumerate(boxes):
            mask = np.zeros(ids.shape, bool)
            mask[y0:y1, x0:x1] = (ids == 1)[y0:y1, x0:x1] & ~taken[y0:y1, x0:x1]
            mask = column_convex(mask)
            if mask.sum() < 20 or (mask & taken).any():
                continue
            taken |= mask
            masks.append(mask)
            kept.append(i)
        boxes, labels = [tight(mask) for mask in masks], [labels[i] for i in kept]
    return Truth(
        key, suffix, files[f"{key}.{suffix}"], record["width"], record["height"],
        [[int(x) for x in box] for box in boxes], labels, masks, ids,
    )  # fmt: skip


def column_convex(mask: BoolArray) -> BoolArray:
    """The first stretch of columns, each filled from its first to its last pixel."""
    full = np.zeros_like(mask)
    columns = np.flatnonzero(mask.any(axis=0))
    for i, x in enumerate(columns):
        if x != columns[0] + i:
            break
        rows = np.flatnonzero(mask[:, x])
        full[rows[0] : rows[-1] + 1, x] = True
    return full


def tight(mask: BoolArray) -> list[int]:
    """The box of a mask."""
    ys, xs = np.nonzero(mask)
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


def outline(mask: BoolArray) -> list[tuple[int, int]]:
    """Along the borders of the pixels: the tops from left to right, and the bottoms back."""
    columns = np.flatnonzero(mask.any(axis=0))
    spans = [(int(x), *np.flatnonzero(mask[:, x])[[0, -1]].tolist()) for x in columns]
    there = [point for x, y0, _ in spans for point in ((x, y0), (x + 1, y0))]
    back = [point for x, _, y1 in reversed(spans) for point in ((x + 1, y1 + 1), (x, y1 + 1))]
    return there + back


def runs(mask: BoolArray) -> list[int]:
    """COCO's uncompressed runs, counted pixel by pixel."""
    found, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            found.append(0)
            value = pixel
        found[-1] += 1
    return found


def flat(points: Iterable[tuple[float, float]]) -> list[float]:
    return [x for point in points for x in point]


def png(array: ByteArray, palette: bool = False) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(array)
    if palette:
        image = image.convert("L")
        image.putpalette([(i * 37) % 256 for i in range(768)])
    image.save(buffer, "png")
    return buffer.getvalue()


def put(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def export_coco(folder: Path, truth: Sequence[Truth], classes: Sequence[str], masks: str) -> Path:
    """`masks`: "none", "runs", "text" (compressed runs) or "outlines"."""
    from faster_coco_eval.core import mask as api

    images, annotations = [], []
    for i, t in enumerate(truth):
        put(folder / "images" / f"{t.key}.{t.suffix}", t.image)
        images.append({"id": i + 10, "file_name": f"{t.key}.{t.suffix}", "width": t.width,
                       "height": t.height})  # fmt: skip
        for j, ((x0, y0, x1, y1), label) in enumerate(zip(t.boxes, t.labels, strict=True)):
            one: dict[str, object] = {"id": len(annotations) + 1, "image_id": i + 10}
            one |= {"category_id": 2 * classes.index(label) + 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            if masks == "runs":
                counts: object = runs(t.masks[j])
            elif masks == "text":
                packed = api.encode(np.asfortranarray(t.masks[j].astype(np.uint8)))
                counts = packed["counts"].decode()
            if masks == "outlines":
                one["segmentation"] = [flat(outline(t.masks[j]))]
            elif masks != "none":
                one["segmentation"] = {"size": [t.height, t.width], "counts": counts}
            annotations.append(one)
    categories = [{"id": 2 * i + 1, "name": name} for i, name in enumerate(classes)]
    record = {"images": images, "annotations": annotations, "categories": categories}
    return put(folder / "instances.json", json.dumps(record))


def export_voc(folder: Path, truth: Sequence[Truth]) -> Path:
    for t in truth:
        put(folder / "JPEGImages" / f"{t.key}.{t.suffix}", t.image)
        objects = "".join(
            f"<object><name>{label}</name><difficult>0</difficult><bndbox><xmin>{x0 + 1}</xmin>"
            f"<ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for (x0, y0, x1, y1), label in zip(t.boxes, t.labels, strict=True)
        )
        size = f"<size><width>{t.width}</width><height>{t.height}</height><depth>3</depth></size>"
        text = f"<annotation><filename>{t.key}.{t.suffix}</filename>{size}{objects}</annotation>"
        put(folder / "Annotations" / f"{t.key}.xml", text)
        if t.ids is not None:
            numbers = np.zeros(t.ids.shape, np.uint8)
            for i, mask in enumerate(t.masks):
                numbers[mask] = i + 1
            put(folder / "SegmentationObject" / f"{t.key}.png", png(numbers, palette=True))
            put(folder / "SegmentationClass" / f"{t.key}.png", png(t.ids, palette=True))
    return folder


def export_yolo(folder: Path, truth: Sequence[Truth], classes: Sequence[str]) -> Path:
    """The first half is train, the second val; outlines where there are masks."""
    for i, t in enumerate(truth):
        split = "train" if i < len(truth) // 2 else "val"
        put(folder / "images" / split / f"{t.key}.{t.suffix}", t.image)
        lines = []
        for j, ((x0, y0, x1, y1), label) in enumerate(zip(t.boxes, t.labels, strict=True)):
            values = [(x0 + x1) / 2 / t.width, (y0 + y1) / 2 / t.height,
                      (x1 - x0) / t.width, (y1 - y0) / t.height]  # fmt: skip
            if t.masks:
                values = flat([(x / t.width, y / t.height) for x, y in outline(t.masks[j])])
            lines.append(" ".join([str(classes.index(label)), *(f"{v:.6f}" for v in values)]))
        put(folder / "labels" / split / f"{t.key}.txt", "\n".join(lines) + "\n")
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(classes))
    put(folder / "data.yaml", f"train: images/train\nval: images/val\nnames:\n{names}")
    return folder


def export_labelme(folder: Path, truth: Sequence[Truth]) -> Path:
    for t in truth:
        put(folder / f"{t.key}.{t.suffix}", t.image)
        shapes = []
        for j, ((x0, y0, x1, y1), label) in enumerate(zip(t.boxes, t.labels, strict=True)):
            kind, points = "rectangle", [(x1, y0), (x0, y1)]
            if t.masks:
                kind, points = "polygon", outline(t.masks[j])
            shapes.append({"label": label, "points": points, "shape_type": kind, "group_id": None})
        record = {"version": "5.5.0", "shapes": shapes, "imagePath": f"{t.key}.{t.suffix}",
                  "imageData": None, "imageHeight": t.height, "imageWidth": t.width}  # fmt: skip
        put(folder / f"{t.key}.json", json.dumps(record))
    return folder


def export_masks(folder: Path, truth: Sequence[Truth], palette: bool) -> tuple[Path, Path]:
    for t in truth:
        assert t.ids is not None
        put(folder / "images" / f"{t.key}.{t.suffix}", t.image)
        put(folder / "masks" / f"{t.key}.png", png(t.ids, palette))
    return folder / "images", folder / "masks"


def read_back(out: Path, segmentation: bool = False, split: str = "*") -> dict[str, Sample]:
    """The samples, as a run reads them."""
    source = Source(
        shards=(f"{out}/{split}-*.tar",), segmentation="seg.png" if segmentation else None
    )
    chunks = plan(source, 16, "digest").chunks
    encoded = [sample for chunk in chunks for sample in read_chunk(chunk, source)]
    return {sample.key: decode(sample, source) for sample in encoded}
