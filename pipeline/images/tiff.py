"""TIFF files before they are decoded: the directory of their tags, held against the file.

Pillow passes over tags that it cannot read, with a warning, and takes their defaults, and a picture
of which strips are missing is black there. So a tag that shapes the pixels must lie in the file,
and there must be a strip or tile for every part; a tag that is only metadata may be damaged.
Bounded before anything is allocated: numbers in a tag (Pillow makes Python objects of them), tags,
pixels, and the size of a tile, of which libtiff allocates one whatever the picture needs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from schemas.errors import SampleError

MAX_TAGS: Final = 4096
MAX_NUMBERS: Final = 2**20

_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_BIG_SIZES: Final = _SIZES | {16: 8, 17: 8, 18: 8}
_BYTES: Final = frozenset({1, 2, 7})
"""Types that stay bytes; of all others every number becomes an object."""
_SHAPING: Final = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323}
    | {324, 325, 332, 338, 339, 347, 529, 530, 531, 532}
)
_SINGLE: Final = frozenset({256, 257, 259, 262, 266, 277, 278, 284, 317, 322, 323})
_WIDTH, _HEIGHT, _STRIPS, _SAMPLES, _ROWS, _PLANES = 256, 257, 273, 277, 278, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILES = 322, 323, 324
_DIRECTORIES: Final = (34665, 34853, 40965)
"""EXIF, GPS, interoperability: Pillow reads these too."""


@dataclass(frozen=True)
class _Tag:
    """`value`: its first number where it stands in the directory itself, otherwise its place."""

    count: int
    value: int


@dataclass(frozen=True)
class _Layout:
    """How numbers are written: byte order, and those of a usual or a big TIFF."""

    order: str
    big: bool

    def number(self, kind: str, data: bytes, place: int) -> int:
        """One of them; SampleError behind the end."""
        kind = f"{self.order}{kind}"
        if place < 0 or place + struct.calcsize(kind) > len(data):
            raise SampleError("truncated_image", f"a directory at byte {place} of {len(data)}")
        return int(struct.unpack_from(kind, data, place)[0])


def is_tiff(data: bytes) -> bool:
    """Whether a file is a TIFF, usual or big, by its first bytes."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def check_tiff(data: bytes, max_pixels: int) -> frozenset[int]:
    """SampleError where a TIFF is no single, whole picture of a legal size. The tags that shape it
    are returned: who decodes must have read them all.
    """
    layout = _Layout("<" if data[:2] == b"II" else ">", b"+" in data[2:4])
    first = layout.number("Q", data, 8) if layout.big else layout.number("I", data, 4)
    tags, following = _directory(data, first, layout)
    for tag in sorted(_SINGLE & tags.keys()):
        if tags[tag].count != 1:
            raise SampleError(
                "broken_image", f"{tags[tag].count} values of tag {tag}, which has one"
            )
    width, height = (tags[tag].value if tag in tags else 0 for tag in (_WIDTH, _HEIGHT))
    if not width or not height:
        raise SampleError("broken_image", f"a TIFF of {width}x{height} pixels")
    if width * height > max_pixels:
        raise SampleError("too_many_pixels", f"{width}x{height}; {max_pixels} at most")
    if following:
        raise SampleError("many_pages", "more than one image in the file; split it")
    _check_parts(tags, width, height, max_pixels)
    for tag in _DIRECTORIES:
        if tag in tags:
            _check_numbers(data, tags[tag].value, layout)
    return _SHAPING & tags.keys()


def _check_parts(tags: dict[int, _Tag], width: int, height: int, max_pixels: int) -> None:
    """As many strips or tiles as the picture has."""
    planes = 1
    if _PLANES in tags and tags[_PLANES].value == 2:
        planes = tags[_SAMPLES].value if _SAMPLES in tags else 1
    if _STRIPS in tags:
        rows = tags[_ROWS].value if _ROWS in tags else height
        across, down, found = 1, -(-height // max(1, rows)), tags[_STRIPS].count
    elif {_TILES, _TILE_WIDTH, _TILE_HEIGHT} <= tags.keys():
        sides = tags[_TILE_WIDTH].value, tags[_TILE_HEIGHT].value
        if not 0 < sides[0] * sides[1] <= max_pixels:
            raise SampleError("broken_image", f"tiles of {sides[0]}x{sides[1]} pixels")
        across, down, found = -(-width // sides[0]), -(-height // sides[1]), tags[_TILES].count
    else:
        raise SampleError("broken_image", "a TIFF without strips or tiles")
    if found < across * down * planes:
        says = f"{found} strips or tiles of {across * down * planes}"
        raise SampleError("truncated_image", says)


def _directory(data: bytes, place: int, layout: _Layout) -> tuple[dict[int, _Tag], int]:
    """The tags of a directory, and where the next one is, 0 for none."""
    head, step, inline = (8, 20, 8) if layout.big else (2, 12, 4)
    count = layout.number("Q" if layout.big else "H", data, place)
    if count > MAX_TAGS:
        raise SampleError("metadata_too_large", f"{count} tags, {MAX_TAGS} at most")
    tags: dict[int, _Tag] = {}
    for at in range(place + head, place + head + count * step, step):
        tag, kind = layout.number("H", data, at), layout.number("H", data, at + 2)
        number = layout.number("Q" if layout.big else "I", data, at + 4)
        size = (_BIG_SIZES if layout.big else _SIZES).get(kind, 0) * number
        value_at = at + step - inline
        if size > inline:
            value = layout.number("Q" if layout.big else "I", data, value_at)
            inside = value + size <= len(data)
            if inside and kind not in _BYTES and number > MAX_NUMBERS:
                says = f"{number} numbers in tag {tag}, {MAX_NUMBERS} at most"
                raise SampleError("metadata_too_large", says)
            if not inside and tag in _SHAPING:
                raise SampleError("truncated_image", f"tag {tag} lies behind the end of the file")
        else:
            letter = {1: "B", 2: "B", 3: "H", 6: "b", 7: "B", 8: "h", 9: "i"}.get(kind, "I")
            value = layout.number("Q" if kind in (16, 18) else letter, data, value_at)
        tags.setdefault(tag, _Tag(number, value))
    return tags, layout.number("Q" if layout.big else "I", data, place + head + count * step)


def _check_numbers(data: bytes, place: int, layout: _Layout) -> None:
    """Of a directory that is only metadata: it may be damaged, but not a bomb."""
    try:
        _directory(data, place, layout)
    except SampleError as error:
        if error.slug == "metadata_too_large":
            raise
