"""One item -> the members of its sample: the origin's image bytes, the labels, the class-id map.

Everything is brought to the pixels as stored: where EXIF turns an image and its labels are of the
turned one, they are turned back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.importing.class_maps import ids_of, png_of, renumbered
from pipeline.importing.drawing import box_of
from pipeline.importing.findings import Finding, image_dropped, noted, repaired
from pipeline.importing.header import Header, read_header
from pipeline.importing.mending import Instance, absolute, mend
from pipeline.importing.records import Annotation, Dataset, Item, ObjectId, Runs
from pipeline.importing.turning import array_to_stored, box_to_stored, runs_to_stored, swaps
from pipeline.labels.geometry import iou, rle_encode
from schemas.errors import SampleError
from schemas.sample import IGNORE_ID, ByteArray

MAP_FITS: Final = 0.5
"""IoU from which an object of a map is taken to be that of the xml."""


@dataclass(frozen=True)
class Packed:
    """One sample. `members` by suffix, empty where it was left out; counts are of annotations."""

    key: str
    split: str
    members: dict[str, bytes]
    findings: tuple[Finding, ...]
    labels: tuple[str, ...] = ()
    masks: bool = False
    kept: int = 0
    repaired: int = 0
    pixels: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class _Frame:
    """Which way round the labels are: (height, width) there, and EXIF's turn (1: as stored)."""

    hw: tuple[int, int]
    turn: int
    stored_wh: tuple[int, int]


def pack(item: Item, key: str, dataset: Dataset) -> Packed:
    """The sample, or why there is none."""
    try:
        return _pack(item, key, dataset)
    except SampleError as error:
        lost = image_dropped(error.slug, item.name, error.detail, annotations=item.total)
        return Packed(key, item.split, {}, (lost,))


def _pack(item: Item, key: str, dataset: Dataset) -> Packed:
    data = _read(item)
    header = read_header(data)
    findings = list(item.findings)
    if not item.labelled:
        findings.append(noted("image_without_labels", item.name))
    frame, found = _frame(item, header)
    findings += found
    suffix, found = _suffix(item, header)
    findings += found
    members = {suffix: data}
    seg, pixels, found = _class_map(item, header, dataset)
    findings += found
    instances, found = _instances(item, frame)
    findings += found
    record: dict[str, object] = {"width": header.width, "height": header.height}
    if dataset.format != "masks":
        record |= _labels(instances, header, masks=item.masks_known)
    members["json"] = _text({**record, "source": item.name})
    members |= {} if seg is None else {"seg.png": seg}
    mended = sum(instance.count for instance in instances if instance.mended)
    return Packed(
        key,
        item.split,
        members,
        tuple(findings),
        labels=tuple(instance.label for instance in instances),
        masks="masks" in record,
        kept=sum(instance.count for instance in instances) - mended,
        repaired=mended,
        pixels=pixels,
    )


def _read(item: Item) -> bytes:
    if isinstance(item.image, bytes):
        return item.image
    try:
        return item.image.read_bytes()
    except FileNotFoundError:
        raise SampleError("missing_image", "") from None
    except OSError as error:
        raise SampleError("unreadable_image", error.strerror or str(error)) from None


def _suffix(item: Item, header: Header) -> tuple[str, list[Finding]]:
    """The file's own suffix, if its content is of that kind."""
    name = item.image.suffix if isinstance(item.image, Path) else f".{header.suffixes[0]}"
    suffix = name[1:].lower()
    if suffix in header.suffixes:
        return suffix, []
    return header.suffixes[0], [repaired("wrong_suffix", item.name, f"is {header.suffixes[0]}")]


def _frame(item: Item, header: Header) -> tuple[_Frame, list[Finding]]:
    """By the size that the annotation states; where it cannot tell, by what its format does."""
    stored, turn = (header.width, header.height), header.orientation
    shown = stored[::-1] if swaps(turn) else stored
    found: list[Finding] = []
    if item.stated_wh is None and not item.relative and item.annotations:
        found.append(noted("size_missing", item.place))
    if item.stated_wh not in (None, stored, shown):
        said = f"{item.stated_wh[0]}x{item.stated_wh[1]}" if item.stated_wh else ""
        raise SampleError("size_mismatch", f"{said}, the image is {stored[0]}x{stored[1]}")
    as_stored = _Frame((stored[1], stored[0]), 1, stored)
    if turn == 1:
        return as_stored, found
    if stored != shown and item.stated_wh is not None:
        turned = item.stated_wh == shown
    else:
        turned = item.upright
        which = "turned" if turned else "stored"
        if item.annotations or (item.class_map and stored == shown):
            found.append(noted("exif_unsure", item.name, f"orientation {turn}; taken as {which}"))
    if not turned:
        return as_stored, found
    if item.annotations:
        found.append(repaired("exif_turned", item.name, f"orientation {turn}"))
    return _Frame((shown[1], shown[0]), turn, stored), found


def _instances(item: Item, frame: _Frame) -> tuple[list[Instance], list[Finding]]:
    annotations = item.annotations
    if item.relative:
        annotations = tuple(absolute(a, (frame.hw[1], frame.hw[0])) for a in annotations)
    by_id, lost = _object_runs(item, frame)
    if lost:
        annotations = tuple(replace(a, mask=None) for a in annotations)
    instances, findings = mend(annotations, frame.hw, by_id)
    mended = bool(lost) or frame.turn != 1
    if frame.turn != 1:
        instances = [_stored(instance, frame) for instance in instances]
    return [replace(i, mended=i.mended or mended) for i in instances], lost + findings


def _stored(instance: Instance, frame: _Frame) -> Instance:
    box = box_to_stored(instance.box, frame.turn, frame.stored_wh)
    runs = instance.runs and runs_to_stored(instance.runs, frame.turn, frame.hw)
    return replace(instance, box=box, runs=runs)


def _object_runs(item: Item, frame: _Frame) -> tuple[dict[int, Runs] | None, list[Finding]]:
    """The masks of a map of objects by their number; a finding where it is not of these objects."""
    if item.object_map is None:
        return None, []
    try:
        ids_hw = ids_of(item.object_map.read_bytes())
        _check_size(ids_hw, frame.hw)
        numbers = [int(n) for n in np.unique(ids_hw) if n not in (0, IGNORE_ID)]
        by_id = {n: tuple(rle_encode(ids_hw == n)) for n in numbers}
        _check_objects(item.annotations, by_id, frame.hw[0])
    except OSError as error:
        why = error.strerror or str(error)
    except SampleError as error:
        why = error.detail
    else:
        return by_id, []
    return None, [repaired("object_map_mismatch", item.object_map.name, why)]


def _check_objects(annotations: Sequence[Annotation], by_id: dict[int, Runs], height: int) -> None:
    """Each number is an object of the xml, and lies where its box is."""
    boxes = {a.mask.number: a.box for a in annotations if isinstance(a.mask, ObjectId)}
    strange = sorted(by_id.keys() ^ boxes.keys())
    if strange:
        where = "map" if strange[0] in by_id else "annotations"
        raise SampleError("object_map_mismatch", f"object {strange[0]} is in the {where} only")
    for number, runs in by_id.items():
        box = boxes[number]
        if box is not None:
            fit = float(iou(np.array([box]), np.array([box_of(runs, height)]))[0, 0])
            if fit < MAP_FITS:
                detail = f"object {number}: box and mask overlap by {fit:.2f}"
                raise SampleError("object_map_mismatch", detail)


def _class_map(
    item: Item, header: Header, dataset: Dataset
) -> tuple[bytes | None, tuple[tuple[int, int], ...], list[Finding]]:
    """The map's bytes as they are, where they may stay so; and how many pixels each class has."""
    if item.class_map is None:
        return None, (), []
    try:
        return _checked_map(item.class_map, header, dataset)
    except SampleError as error:
        if dataset.format == "masks":  # it is all there is to the sample
            raise
        return None, (), [repaired(error.slug, item.class_map.name, f"{error.detail}; left out")]


def _checked_map(
    path: Path, header: Header, dataset: Dataset
) -> tuple[bytes, tuple[tuple[int, int], ...], list[Finding]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SampleError("missing_mask", error.strerror or str(error)) from None
    read_hw = ids_of(data)
    ids_hw = _of_image(read_hw, header)
    if dataset.ids is not None:
        ids_hw = renumbered(ids_hw, dataset.ids)
    top = int(np.max(ids_hw, where=ids_hw != IGNORE_ID, initial=0))
    if dataset.seg_classes and top >= len(dataset.seg_classes):
        raise SampleError("class_out_of_range", f"id {top} of {len(dataset.seg_classes)} classes")
    counts = np.bincount(ids_hw.ravel(), minlength=256).tolist()
    pixels = tuple((value, n) for value, n in enumerate(counts) if n)
    if np.array_equal(read_hw, ids_hw):
        return data, pixels, []
    return png_of(ids_hw), pixels, [repaired("class_map_rewritten", path.name)]


def _of_image(ids_hw: ByteArray, header: Header) -> ByteArray:
    """A map of the stored image; one of the turned image is turned back."""
    hw = (header.height, header.width)
    if ids_hw.shape != hw and swaps(header.orientation) and ids_hw.shape == hw[::-1]:
        ids_hw = array_to_stored(ids_hw, header.orientation)
    _check_size(ids_hw, hw)
    return ids_hw


def _check_size(ids_hw: ByteArray, hw: tuple[int, int]) -> None:
    if ids_hw.shape != hw:
        said = f"{ids_hw.shape[1]}x{ids_hw.shape[0]}, the image {hw[1]}x{hw[0]}"
        raise SampleError("class_map_size", said)


def _labels(instances: list[Instance], header: Header, *, masks: bool) -> dict[str, object]:
    """As `pipeline.labels.files.labels_json` writes them, from runs instead of from pixels."""
    record: dict[str, object] = {
        "boxes": [[_plain(x) for x in instance.box] for instance in instances],
        "labels": [instance.label for instance in instances],
    }
    runs = [instance.runs for instance in instances if instance.runs is not None]
    if runs or (masks and not instances):
        size = [header.height, header.width]
        record["masks"] = [{"size": size, "counts": counts} for counts in runs]
    return record


def _plain(x: float) -> int | float:
    return int(x) if x.is_integer() else x


def _text(record: dict[str, object]) -> bytes:
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
