"""TIFF: directories that are not those of a whole picture, or made to take memory."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from pipeline.images.tiff import MAX_NUMBERS, MAX_TAGS
from tests.pipeline.images.files import pixels, slug


def tiff(**tags: tuple[int, list[int]]) -> bytes:
    """A gray TIFF of 8 x 6 pixels, raw, by hand: `t273=(type, numbers)` sets a tag."""
    usual: dict[int, tuple[int, list[int]]] = {
        256: (3, [8]),
        257: (3, [6]),
        258: (3, [8]),
        259: (3, [1]),
        262: (3, [1]),
        273: (4, [8, 32]),
        277: (3, [1]),
        278: (3, [3]),
        279: (4, [24, 24]),
    }
    for name, value in tags.items():
        usual[int(name[1:])] = value
    entries, after, start = b"", b"", 8 + 48 + 2 + 12 * len(usual) + 4
    for tag, (kind, numbers) in sorted(usual.items()):
        data = struct.pack(f"<{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(data) > 4:
            place, after = start + len(after), after + data
            data = struct.pack("<I", place)
        entries += struct.pack("<HHI", tag, kind, len(numbers)) + data.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<I", 56) + bytes(range(48))
    return head + struct.pack("<H", len(usual)) + entries + bytes(4) + after


def test_a_tiff_by_hand_is_one() -> None:
    assert np.array_equal(pixels(tiff())[:, :, 0].ravel(), np.arange(48))


def claimed(data: bytes, tag: int, kind: int, count: int) -> bytes:
    """The TIFF with other words about one tag."""
    place = data.index(struct.pack("<HH", tag, kind), 56)
    return data[: place + 4] + struct.pack("<I", count) + data[place + 8 :]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (tiff(t273=(4, [8])), "truncated_image"),
        (tiff(t278=(3, [2])), "truncated_image"),
        (tiff(t257=(3, [0])), "broken_image"),
        (tiff(t257=(4, [2**31])), "too_many_pixels"),
        (claimed(tiff(), 273, 4, 1000), "truncated_image"),
        (tiff(t273=(4, [8] * (MAX_NUMBERS + 1))), "metadata_too_large"),
        (tiff(t700=(3, [8] * (MAX_NUMBERS + 1))), "metadata_too_large"),
        (claimed(tiff(t700=(3, [1, 2, 3])), 700, 3, 2**30), None),
        (tiff()[:56] + struct.pack("<H", MAX_TAGS + 1) + tiff()[58:], "metadata_too_large"),
        (tiff(t259=(3, [1, 1])), "broken_image"),
        (claimed(tiff(), 262, 3, 0), "broken_image"),
        (tiff(t258=(11, [8])), "broken_image"),
        (tiff(t258=(99, [8])), "broken_image"),
        (tiff()[:70], "truncated_image"),
        (tiff()[:4], "truncated_image"),
        (tiff(t34665=(4, [2])), None),
        (tiff(t34665=(4, [2**31])), None),
    ],
    ids=[
        *("one strip of two", "two strips of three", "no rows", "rows", "strips outside"),
        *("many strips", "numbers in metadata", "metadata outside", "tags", "two values"),
        *("no value", "type of another", "type of no one", "cut tags"),
        *("cut header", "exif nowhere", "exif outside"),
    ],
)
def test_the_directory_of_a_tiff_is_held_against_the_file(
    data: bytes, expected: str | None
) -> None:
    if expected is None:
        assert pixels(data).shape == (6, 8, 3)
    else:
        assert slug(data) == expected


def test_a_tile_is_not_larger_than_a_picture_may_be() -> None:
    tiles: dict[str, tuple[int, list[int]]] = {
        "t322": (4, [2**14]),
        "t323": (4, [2**14]),
        "t324": (4, [8]),
        "t325": (4, [48]),
    }
    data = tiff(**tiles).replace(struct.pack("<HH", 273, 4), struct.pack("<HH", 272, 4))
    assert slug(data) == "broken_image"
