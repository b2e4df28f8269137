"""Bad labels: JSON that is deep, huge or wrong, boxes that are none, masks that do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
from PIL import Image

from tests.bad.building import Case, Kinds, case, sample
from tests.bad.pictures import piece, raw_png, saved
from tests.pipeline.shards import png

H, W = 24, 32
BOX = [4, 5, 12, 13]
RUNS = [5, 3, H * W - 8]
IDS = np.zeros((H, W), np.uint8)

Data = bytes | Callable[[], bytes]


def record(**fields: object) -> bytes:
    """A labels file with one box, and some of its fields otherwise."""
    usual = {"width": W, "height": H, "boxes": [BOX], "labels": ["cell"]}
    return json.dumps({**usual, **fields}).encode()


def labelled(data: Data, *slugs: str, **source: object) -> Case:
    """A sample with this labels file."""
    made = data if isinstance(data, bytes) else data()
    return case(sample("bad", json=made), failed={"bad": slugs}, **source)


def boxed(box: object, *slugs: str) -> Case:
    """A sample with this box."""
    return labelled(record(boxes=[box]), *slugs)


def masked(mask: object, *slugs: str) -> Case:
    """A sample with this instance mask."""
    return labelled(record(masks=[mask]), *slugs)


def mapped(data: Data, *slugs: str, **source: object) -> Case:
    """A sample with this class-id map."""
    made = data if isinstance(data, bytes) else data()
    return case(sample("bad", seg_png=made), failed={"bad": slugs}, **source)


def legal(data: bytes) -> Case:
    """A sample with these labels, which look odd and are right."""
    return case(sample("bad", json=data), legal=("bad",))


def of_ids(ids: object) -> bytes:
    """A class-id map of this array."""
    return png(np.asarray(ids))


def ids_bomb() -> bytes:
    """A map whose header says 100,000 a side."""
    return raw_png(100_000, 100_000, b"")


KINDS: Final[Kinds] = {
    "json_empty": partial(labelled, b"", "bad_labels"),
    "json_cut": partial(labelled, record()[:-9], "bad_labels"),
    "json_and_more": partial(labelled, record() + b"}", "bad_labels"),
    "json_of_text": partial(labelled, b"no JSON at all", "bad_labels"),
    "json_list": partial(labelled, b"[1, 2]", "bad_labels"),
    "json_null": partial(labelled, b"null", "bad_labels"),
    "json_deep": partial(labelled, lambda: b"[" * 1_000_000, "bad_labels"),
    "json_deep_inside": partial(
        labelled,
        lambda: record()[:-1] + b', "x": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
        "bad_labels",
    ),
    "json_huge": partial(labelled, lambda: record(note="x" * 17 * 2**20), "member_too_large"),
    "json_many_keys": partial(
        labelled,
        lambda: record(boxes=[[0, 0, 1, 1]] * 50_000, labels=["cell"]),
        "count_mismatch",
        "labels_too_large",
    ),
    "json_nan": partial(labelled, record(note=float("nan")), "bad_labels"),
    "json_not_utf8": partial(labelled, record(note="?").replace(b"?", b"\xff"), "bad_labels"),
    "json_utf16": partial(labelled, record().decode().encode("utf-16"), "bad_labels"),
    "json_bom": partial(legal, b"\xef\xbb\xbf" + record()),
    "json_number_of_digits": partial(labelled, b'{"x": ' + b"9" * 5000 + b"}", "bad_labels"),
    "json_key_twice": partial(
        labelled, record()[:-1] + b', "boxes": []}', "bad_labels", "count_mismatch", "duplicate_key"
    ),
    "json_pickle": partial(labelled, b"\x80\x04\x95\x0b\x00.", "bad_labels"),
    "boxes_of_text": partial(labelled, record(boxes="all"), "bad_labels"),
    "boxes_null_inside": partial(labelled, record(boxes=[None]), "bad_labels"),
    "box_of_three": partial(boxed, [1, 2, 3], "bad_labels"),
    "box_of_text": partial(boxed, [1, 2, 3, "4"], "bad_labels"),
    "box_of_booleans": partial(boxed, [False, False, True, True], "bad_labels"),
    "box_nan": partial(boxed, [1, 1, float("nan"), 4], "box_not_finite"),
    "box_infinite": partial(boxed, [1, 1, 3, float("inf")], "box_not_finite"),
    "box_of_digits": partial(boxed, [1, 1, 3, 10**400], "box_not_finite"),
    "box_reversed": partial(boxed, [12, 5, 4, 13], "box_reversed"),
    "box_empty": partial(boxed, [4, 5, 4, 13], "box_empty"),
    "box_outside": partial(boxed, [40, 5, 50, 13], "box_out_of_range"),
    "box_half_outside": partial(boxed, [20, 5, 50, 13], "box_out_of_range"),
    "box_before_the_image": partial(boxed, [-9, -9, 12, 13], "box_out_of_range"),
    "box_far_away": partial(boxed, [0, 0, 1e300, 1e300], "box_out_of_range"),
    "size_of_another_image": partial(labelled, record(width=W + 1), "size_mismatch"),
    "size_of_text": partial(labelled, record(height="24"), "size_mismatch", "bad_labels"),
    "labels_too_few": partial(labelled, record(boxes=[BOX, BOX]), "count_mismatch"),
    "labels_too_many": partial(labelled, record(labels=["cell", "cell"]), "count_mismatch"),
    "labels_missing": partial(labelled, record(labels=None), "bad_labels", "count_mismatch"),
    "labels_of_numbers": partial(labelled, record(labels=[1]), "bad_labels"),
    "labels_of_control_characters": partial(
        labelled, record(labels=["ce\x1b[2Jll"]), "bad_labels", "unknown_class"
    ),
    "labels_of_surrogates": partial(labelled, record(labels=["\ud800"]), "bad_labels"),
    "class_unknown": partial(labelled, record(labels=["bell"]), "unknown_class"),
    "mask_of_another_size": partial(
        masked, {"size": [W, H], "counts": RUNS}, "bad_mask", "mask_size"
    ),
    "mask_too_short": partial(masked, {"size": [H, W], "counts": [5, 3]}, "bad_mask"),
    "mask_too_long": partial(masked, {"size": [H, W], "counts": [5, 3, 10**6]}, "bad_mask"),
    "mask_beyond_64_bits": partial(masked, {"size": [H, W], "counts": [2**70, 1]}, "bad_mask"),
    "mask_negative": partial(masked, {"size": [H, W], "counts": [-5, 3, H * W + 2]}, "bad_mask"),
    "mask_empty": partial(masked, {"size": [H, W], "counts": [H * W]}, "bad_mask"),
    "mask_of_text": partial(masked, {"size": [H, W], "counts": "aab"}, "bad_mask"),
    "mask_of_fractions": partial(masked, {"size": [H, W], "counts": [5.5, 3]}, "bad_mask"),
    "mask_of_a_terapixel": partial(
        masked, {"size": [2**20, 2**20], "counts": [2**40]}, "bad_mask", "mask_size"
    ),
    "masks_too_few": partial(labelled, record(masks=[]), "count_mismatch"),
    "masks_by_the_million": partial(
        labelled,
        lambda: record(masks=[0] * 20_000, boxes=[BOX] * 20_000, labels=["cell"] * 20_000),
        "bad_mask",
        "labels_too_large",
    ),
    "map_of_another_size": partial(mapped, lambda: of_ids(IDS[:-1]), "class_map_size"),
    "map_turned": partial(mapped, lambda: of_ids(IDS.T), "class_map_size"),
    "map_of_illegal_ids": partial(
        mapped, lambda: of_ids(IDS + 7), "unknown_class_id", seg_classes=["background", "cell"]
    ),
    "map_in_colour": partial(mapped, lambda: of_ids(np.dstack([IDS] * 3)), "bad_class_map"),
    "map_of_16_bits": partial(
        mapped, lambda: of_ids(IDS.astype(np.uint16) + 300), "bad_class_map", "deep_image"
    ),
    "map_as_jpeg": partial(mapped, lambda: saved(Image.fromarray(IDS), "jpeg"), "bad_class_map"),
    "map_cut": partial(mapped, lambda: of_ids(IDS)[:-30], "truncated_image", "broken_image"),
    "map_empty": partial(mapped, b"", "bad_class_map"),
    "map_100k_a_side": partial(mapped, ids_bomb, "too_many_pixels", "bad_class_map"),
    "map_without_pixels": partial(
        mapped, lambda: of_ids(IDS)[:33] + piece(b"IEND", b""), "truncated_image", "broken_image"
    ),
}
