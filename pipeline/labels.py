"""Labels files: the JSON of one sample, checked as it is read, and written the same way every time.

What is wrong is a SampleError with one of these slugs:

    bad_labels           no JSON object, or a field of the wrong type
    labels_too_large     more than 16 MiB of text, or masks of more than 2^30 pixels together
    size_mismatch        "width" and "height" are not the image's
    count_mismatch       boxes, labels and masks are not equally many
    box_not_finite       NaN or infinity
    box_reversed         x1 < x0 or y1 < y0
    box_empty            no area inside the image
    box_out_of_range     reaches out by more than 1 pixel
    bad_mask             runs that do not fill the image, or a mask without a pixel
    unknown_class        not among the recipe's `classes`

Up to 1 pixel outside is cut off in silence: Pascal VOC's numbers begin at 1 and include the last
pixel, so that a conversion that forgets one of the two is off by one. (In the sample datasets, none
of 15,615 boxes is.)
"""

from __future__ import annotations

import json
import math
from typing import Final

import numpy as np

from pipeline.geometry import areas, boxes_from_masks, clip, overhang, rle_decode, rle_encode
from schemas.errors import SampleError
from schemas.sample import BoolArray, FloatArray, Instances, Sample

MAX_BYTES: Final = 16 * 2**20
MAX_MASK_PIXELS: Final = 2**30
TOLERANCE_PX: Final = 1.0
FIELDS: Final = ("width", "height", "boxes", "labels", "masks")

Extra = tuple[tuple[str, str], ...]


def read_labels(
    data: bytes, hw: tuple[int, int], classes: tuple[str, ...] | None = None
) -> tuple[Instances | None, Extra]:
    """The instances of an image of this size, and what else the file says."""
    record = _record(data)
    _check_size(record, hw)
    extra = tuple((key, _text(value)) for key, value in record.items() if key not in FIELDS)
    masks_nhw = _masks(record.get("masks"), hw)
    boxes_n4 = _boxes(record.get("boxes"), masks_nhw)
    if boxes_n4 is None:
        return None, extra
    labels = _names(record.get("labels"), classes)
    counts = {len(labels), len(boxes_n4), len(boxes_n4 if masks_nhw is None else masks_nhw)}
    if len(counts) > 1:
        raise SampleError("count_mismatch", f"{len(boxes_n4)} boxes, {len(labels)} labels")
    return Instances(_checked(boxes_n4, *hw), labels, masks_nhw), extra


def labelled_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of the image that a labels file speaks of, by itself or its first mask."""
    record = _record(data)
    size: object = [record.get("height"), record.get("width")]
    if size == [None, None]:
        masks = record.get("masks")
        first = masks[0] if isinstance(masks, list) and masks else None
        size = first.get("size") if isinstance(first, dict) else None
    match size:
        case [int(height), int(width)]:
            return height, width
    return None


def read_names(data: bytes, classes: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """The class of every object, and nothing else of the file checked."""
    record = _record(data)
    return _names(record.get("labels", []), classes)


def labels_json(sample: Sample) -> bytes:
    """The labels file of a sample: whole numbers without a point, keys in a fixed order."""
    record: dict[str, object] = {"width": sample.width, "height": sample.height}
    if sample.instances is not None:
        boxes = sample.instances.boxes_n4.tolist()
        record["boxes"] = [[int(x) if x.is_integer() else x for x in box] for box in boxes]
        record["labels"] = list(sample.instances.labels)
        if sample.instances.masks_nhw is not None:
            size = [sample.height, sample.width]
            masks = [rle_encode(mask_hw) for mask_hw in sample.instances.masks_nhw]
            record["masks"] = [{"size": size, "counts": counts} for counts in masks]
    record |= {key: json.loads(text) for key, text in sample.extra}
    return _text(record).encode()


def _text(value: object) -> str:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise SampleError("bad_labels", str(error)) from error


def _record(data: bytes) -> dict[str, object]:
    if len(data) > MAX_BYTES:
        raise SampleError("labels_too_large", f"{len(data)} bytes, {MAX_BYTES} at most")
    try:
        record = json.loads(data.decode("utf-8-sig"))
    except ValueError as error:
        raise SampleError("bad_labels", f"no JSON: {error}") from error
    except RecursionError as error:
        raise SampleError("bad_labels", "JSON nested too deeply") from error
    if not isinstance(record, dict):
        raise SampleError("bad_labels", "not a JSON object")
    return record


def _check_size(record: dict[str, object], hw: tuple[int, int]) -> None:
    for name, true in zip(("height", "width"), hw, strict=True):
        if name in record and record[name] != true:
            raise SampleError("size_mismatch", f"{name} is {record[name]!r}, the image's {true}")


def _list(value: object, name: str) -> list[object]:
    if not isinstance(value, list):
        raise SampleError("bad_labels", f'"{name}" is not a list')
    return value


def _numbers(value: object) -> list[float] | None:
    """A list of four numbers, or None."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    if any(isinstance(x, bool) or not isinstance(x, int | float) for x in value):
        return None
    # An integer beyond float64 is no place in an image: it fails as not finite.
    return [math.inf if isinstance(x, int) and abs(x) > 2**1000 else float(x) for x in value]


def _boxes(value: object, masks_nhw: BoolArray | None) -> FloatArray | None:
    if value is None:
        return None if masks_nhw is None else boxes_from_masks(masks_nhw)
    boxes = [_numbers(box) for box in _list(value, "boxes")]
    found = [box for box in boxes if box is not None]
    if len(found) < len(boxes):
        i = boxes.index(None)
        raise SampleError("bad_labels", f"box {i} is not a list of four numbers")
    return np.array(found, dtype=np.float64).reshape(-1, 4)


def _names(value: object, classes: tuple[str, ...] | None) -> tuple[str, ...]:
    names = _list(value, "labels")
    found = tuple(name for name in names if isinstance(name, str))
    if len(found) < len(names):
        raise SampleError("bad_labels", '"labels" holds something else than class names')
    for name in found:
        if not name.isprintable():  # lone surrogates too: no file format takes them
            raise SampleError("bad_labels", f"an impossible class name {name!r}")
        if classes is not None and name not in classes:
            raise SampleError("unknown_class", f"{name!r}; source.classes: {', '.join(classes)}")
    return found


def _checked(boxes_n4: FloatArray, height: int, width: int) -> FloatArray:
    _refuse(np.any(~np.isfinite(boxes_n4), axis=1), boxes_n4, "box_not_finite")
    _refuse(np.any(boxes_n4[:, 2:] < boxes_n4[:, :2], axis=1), boxes_n4, "box_reversed")
    _refuse(overhang(boxes_n4, height, width) > TOLERANCE_PX, boxes_n4, "box_out_of_range")
    inside = clip(boxes_n4, height, width)
    _refuse(areas(inside) == 0, boxes_n4, "box_empty")
    return inside


def _refuse(bad: BoolArray, boxes_n4: FloatArray, slug: str) -> None:
    if bad.any():
        i = int(bad.argmax())
        raise SampleError(slug, f"box {i}: {boxes_n4[i].tolist()}")


def _masks(value: object, hw: tuple[int, int]) -> BoolArray | None:
    if value is None:
        return None
    masks = _list(value, "masks")
    if len(masks) * hw[0] * hw[1] > MAX_MASK_PIXELS:
        raise SampleError("labels_too_large", f"{len(masks)} masks of {hw[0]}x{hw[1]} pixels")
    masks_nhw = np.zeros((len(masks), *hw), np.bool_)
    for i, mask in enumerate(masks):
        masks_nhw[i] = _mask(mask, i, hw)
    return masks_nhw


def _mask(value: object, i: int, hw: tuple[int, int]) -> BoolArray:
    if not isinstance(value, dict) or value.get("size") != list(hw):
        raise SampleError("bad_mask", f"mask {i} has no size of {list(hw)}")
    counts = value.get("counts")
    if not isinstance(counts, list) or not all(type(count) is int for count in counts):
        raise SampleError("bad_mask", f"mask {i}: counts are not a list of whole numbers")
    try:
        mask_hw = rle_decode(counts, *hw)
    except ValueError as error:
        raise SampleError("bad_mask", f"mask {i}: {error}") from error
    if not mask_hw.any():
        raise SampleError("bad_mask", f"mask {i} has no pixel")
    return mask_hw
