"""Labels files: the JSON of one sample, checked as it is read, and written the same way every time.

What is wrong with the file is a SampleError with one of these slugs:

    bad_labels           no JSON object (`strict_json.py` says how strictly it is read), or a field
                         of the wrong type
    labels_too_large     more than 16 MiB of text, or masks of more than 2^29 pixels together
    size_mismatch        "width" and "height" are not the image's
    count_mismatch       boxes, labels and masks are not equally many

What is wrong with one object of it (`repair.py`) is a SampleError too, unless the recipe's policies
mend it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from pipeline.images.orientation import stored_size, turned, upright_boxes
from pipeline.labels.geometry import boxes_from_masks, rle_decode, rle_encode
from pipeline.labels.repair import Mender
from pipeline.labels.strict_json import read_object, shortened, text_of
from schemas.errors import SampleError
from schemas.index import Repair
from schemas.recipe import RepairPolicies
from schemas.sample import BoolArray, FloatArray, Instances, Sample

MAX_MASK_PIXELS: Final = 2**29
"""Half a gigabyte as booleans, one byte each: beside the largest image that is read, with its file,
a reader stays below 1.5 GB."""
MAX_NAME: Final = 256
FIELDS: Final = ("width", "height", "boxes", "labels", "masks")

Extra = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Labels:
    """What a labels file says: instances (None where it names no objects at all), other keys as
    JSON text, whether it names the size of its image, and what was mended.
    """

    instances: Instances | None
    extra: Extra
    sized: bool = False
    repairs: tuple[Repair, ...] = ()


@dataclass(frozen=True)
class Rules:
    """What a recipe says of labels: the legal classes (None: any), and the policies."""

    classes: tuple[str, ...] | None = None
    repair: RepairPolicies = field(default_factory=RepairPolicies)


STRICT: Final = Rules()


def read_labels(
    data: bytes, hw: tuple[int, int], rules: Rules = STRICT, orientation: int = 1
) -> Labels:
    """The labels of an image of this size. Where they are of the stored frame of an image that EXIF
    turns, `hw` is the stored size, and boxes and masks come out upright.
    """
    record = read_object(data)
    _check_size(record, hw)
    sized = "width" in record and "height" in record
    fields = {name: record.pop(name, None) for name in FIELDS}
    extra = tuple((key, text_of(value)) for key, value in record.items())
    del record  # parsed JSON is large: it must not lie beside the masks
    masks = None if fields["masks"] is None else _list(fields["masks"], "masks")
    boxes_n4 = None if fields["boxes"] is None else _boxes(fields["boxes"])
    if masks is None and boxes_n4 is None:
        return Labels(None, extra, sized)
    names = _names(fields["labels"])
    _check_counts(boxes_n4, names, masks)
    mender = Mender(rules.repair)
    kept = mender.known(names, rules.classes)
    if boxes_n4 is not None:
        boxes_n4, kept = mender.mended(boxes_n4, kept, *hw)
    masks_nhw = None
    if masks is not None:
        masks_nhw, tight_n4, having = _masks(masks, kept, hw, orientation, mender)
        boxes_n4 = tight_n4 if boxes_n4 is None else boxes_n4[having]
        kept = [kept[i] for i in having]
    assert boxes_n4 is not None
    upright_n4 = upright_boxes(boxes_n4, stored_size(hw, orientation), orientation)
    instances = Instances(upright_n4, tuple(names[i] for i in kept), masks_nhw)
    return Labels(instances, extra, sized, tuple(mender.repairs))


def labelled_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of the image that a labels file speaks of, by itself or its first mask."""
    record = read_object(data)
    size: object = [record.get("height"), record.get("width")]
    if size == [None, None]:
        masks = record.get("masks")
        first = masks[0] if isinstance(masks, list) and masks else None
        size = first.get("size") if isinstance(first, dict) else None
    match size:
        case [int(height), int(width)]:
            return height, width
    return None


def read_names(data: bytes, rules: Rules = STRICT) -> tuple[str, ...]:
    """The class of every object that the rules do not leave out for it, and nothing else of the
    file checked.
    """
    names = _names(read_object(data).get("labels", []))
    return tuple(names[i] for i in Mender(rules.repair).known(names, rules.classes))


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
    return text_of(record).encode()


def _check_size(record: dict[str, object], hw: tuple[int, int]) -> None:
    for name, true in zip(("height", "width"), hw, strict=True):
        value = record.get(name, true)
        if isinstance(value, bool) or value != true:
            raise SampleError("size_mismatch", f"{name} is {shortened(value)}, the image's {true}")


def _check_counts(
    boxes_n4: FloatArray | None, names: tuple[str, ...], masks: list[object] | None
) -> None:
    counts = {"labels": len(names)}
    if boxes_n4 is not None:
        counts["boxes"] = len(boxes_n4)
    if masks is not None:
        counts["masks"] = len(masks)
    if len(set(counts.values())) > 1:
        says = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise SampleError("count_mismatch", says)


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


def _boxes(value: object) -> FloatArray:
    boxes = [_numbers(box) for box in _list(value, "boxes")]
    found = [box for box in boxes if box is not None]
    if len(found) < len(boxes):
        i = boxes.index(None)
        raise SampleError("bad_labels", f"box {i} is not a list of four numbers")
    return np.array(found, dtype=np.float64).reshape(-1, 4)


def _names(value: object) -> tuple[str, ...]:
    names = _list(value, "labels")
    found = tuple(name for name in names if isinstance(name, str))
    if len(found) < len(names):
        raise SampleError("bad_labels", '"labels" holds something else than class names')
    for name in found:
        # lone surrogates are not printable either: no file format takes them
        if not name.isprintable() or not 0 < len(name) <= MAX_NAME:
            raise SampleError("bad_labels", f"an impossible class name {shortened(name)}")
    return found


def _masks(
    masks: list[object],
    places: Sequence[int],
    hw: tuple[int, int],
    orientation: int,
    mender: Mender,
) -> tuple[BoolArray, FloatArray, list[int]]:
    """The masks at these places, upright; their boxes, as stored; and which of the places have one.

    Each is turned as it is decoded: all of them turned at once would lie in memory twice.
    """
    if len(places) * hw[0] * hw[1] > MAX_MASK_PIXELS:
        raise SampleError("labels_too_large", f"{len(places)} masks of {hw[0]}x{hw[1]} pixels")
    masks_nhw = np.zeros((len(places), *stored_size(hw, orientation)), np.bool_)
    tight_n4 = np.zeros((len(places), 4))
    having: list[int] = []
    for i, place in enumerate(places):
        try:
            mask_hw = _mask(masks[place], hw)
        except ValueError as error:
            mender.dropped("bad_mask", f"mask {place}: {error}")
            continue
        tight_n4[len(having)] = boxes_from_masks(mask_hw[None])[0]
        _copy(turned(mask_hw, orientation), masks_nhw[len(having)])
        having.append(i)
    return masks_nhw[: len(having)], tight_n4[: len(having)], having


def _copy(mask_hw: BoolArray, into_hw: BoolArray) -> None:
    """In strips that fit into the cache: runs are by columns, arrays by rows, and at 64 megapixels
    a plain copy takes 0.9 s, this one 0.2.
    """
    for x in range(0, into_hw.shape[1], 64):
        into_hw[:, x : x + 64] = mask_hw[:, x : x + 64]


def _mask(value: object, hw: tuple[int, int]) -> BoolArray:
    """One mask as stored; ValueError where it is none."""
    if not isinstance(value, dict) or value.get("size") != list(hw):
        size = value.get("size") if isinstance(value, dict) else value
        raise ValueError(f"its size is {shortened(size)}, the image's {list(hw)}")
    counts = value.get("counts")
    if not isinstance(counts, list) or not all(type(count) is int for count in counts):
        raise ValueError("counts are not a list of whole numbers")
    mask_hw = rle_decode(counts, *hw)
    if not mask_hw.any():
        raise ValueError("no pixel")
    return mask_hw
