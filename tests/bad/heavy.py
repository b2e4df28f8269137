"""Shards that a reader must not take into memory as they ask for it."""

from __future__ import annotations

import json
from functools import partial
from typing import Final

import numpy as np

from tests.bad.building import AFTER, BEFORE, END, Case, Kinds, case, good, header, sample
from tests.bad.packed import gzip_bomb
from tests.bad.pictures import piece, raw_png, zeros
from tests.pipeline.shards import png

SIDE: Final = 8192
"""Of the largest image that is read, 2^26 pixels."""

MEGABYTE: Final = 2**20


def largest(**fields: object) -> Case:
    """An image and a class-id map of as many pixels as are read."""
    record = {"width": SIDE, "height": SIDE, "boxes": [[0, 0, 9, 9]], "labels": ["cell"], **fields}
    image = raw_png(SIDE, SIDE, zeros(SIDE * (3 * SIDE + 1)))
    ids = png(np.zeros((SIDE, SIDE), np.uint8))
    data = sample("bad", png=image, seg_png=ids, json=json.dumps(record).encode())
    return case(data, either=("bad",))


def with_palette() -> Case:
    """The same, of a palette with transparency: it becomes RGBA on its way to RGB."""
    image = png(np.zeros((SIDE, SIDE), np.uint8))
    head = bytearray(image[16:29])
    head[9] = 3
    pieces = piece(b"PLTE", bytes(range(256)) * 3) + piece(b"tRNS", bytes(range(256)))
    palette = image[:8] + piece(b"IHDR", bytes(head)) + pieces + image[33:]
    return case(sample("bad", png=palette), failed={"bad": "size_mismatch"})


def masks(number: int) -> Case:
    """The same, with this many masks that cover it."""
    mask = {"size": [SIDE, SIDE], "counts": [0, SIDE * SIDE]}
    names = ["cell"] * number
    return largest(boxes=[[0, 0, SIDE, SIDE]] * number, labels=names, masks=[mask] * number)


def many_large(number: int, megabytes: int) -> Case:
    """Samples of many megabytes each, one after the other: a chunk of them is gigabytes."""
    size = megabytes * MEGABYTE
    parts: list[bytes | int] = []
    for n in range(number):
        parts += [header(b"bad%d.png" % n, size), size]
    keys = {f"bad{n}": ("unknown_format", "missing_labels") for n in range(number)}
    pieces = (good(*BEFORE), *parts, good(*AFTER), END)
    return Case({"a.tar": pieces}, keys)


def bomb_beyond_all() -> Case:
    """A gzip that is not unpacked to its end."""
    return Case(gzip_bomb(8192).shards, findings=("decompression_bomb",))


KINDS: Final[Kinds] = {
    "masks_of_half_a_gigapixel": partial(masks, 8),
}
"""The worst that is read whole: the tests look at the memory that it takes."""

HEAVIER: Final[Kinds] = {
    "image_of_64_megapixels": largest,
    "palette_of_64_megapixels": with_palette,
    "masks_of_a_gigapixel": partial(masks, 16),
    "members_of_180_megabytes": partial(many_large, 20, 180),
    "members_of_2_megabytes": partial(many_large, 1000, 2),
    "gz_bomb_of_8_gib": bomb_beyond_all,
}
"""Those that take too long for it."""
