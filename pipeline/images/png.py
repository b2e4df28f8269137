"""PNG files before they are decoded: is everything there, and is it what the header says?

Pillow looks at no checksum behind the header's and stops reading when it has its rows, so that a
damaged picture, or one whose header names a smaller size, would come out as noise in silence. Here
every chunk that shapes the pixels is held against its checksum. `check_rows` inflates the rows to
count them; that takes a third of the time of decoding, and is for images of which nothing else
says the size (labels, a class-id map). What is only metadata may be damaged.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from schemas.errors import SampleError

START: Final = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS: Final = 2**17
"""The largest image that is read has 25,000 in libpng's usual pieces; each costs time."""

_SLICE: Final = 2**16
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7: Final = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)
"""First row, first column, rows down and columns right of each pass."""


def is_png(data: bytes) -> bool:
    """Whether a file is a PNG by its first bytes."""
    return data.startswith(START)


@dataclass(frozen=True)
class PngHeader:
    """What a PNG says of itself. `colour` is its colour type: 0 gray, 2 RGB, 3 palette, 4 gray and
    alpha, 6 RGB and alpha; `bits` are those of a channel.
    """

    width: int
    height: int
    bits: int
    colour: int
    interlaced: bool

    @property
    def size(self) -> int:
        """Bytes of its rows, uncompressed."""
        bits = self.bits * _CHANNELS[self.colour]
        return sum(
            rows * (1 + (columns * bits + 7) // 8) for rows, columns in self._passes() if columns
        )

    def _passes(self) -> Iterator[tuple[int, int]]:
        """Rows and columns of each pass (PNG, 8.2): one, or the seven of Adam7."""
        for y, x, down, right in _ADAM7 if self.interlaced else ((0, 0, 1, 1),):
            yield max(0, -(-(self.height - y) // down)), max(0, -(-(self.width - x) // right))


def check_png(data: bytes, max_pixels: int) -> None:
    """SampleError where a PNG is damaged, ends early, or is too large."""
    header = png_header(data)
    if header.width * header.height > max_pixels:
        says = f"{header.width}x{header.height}; {max_pixels} at most"
        raise SampleError("too_many_pixels", says)
    if header.bits == 16 and header.colour != 0:
        raise SampleError("deep_colour", "a PNG of 16 bits per channel; 8, or gray of 16")
    if not list(_picture_data(data)):
        raise SampleError("truncated_image", "a PNG without rows")


def check_rows(data: bytes) -> None:
    """SampleError where the rows of a PNG that was checked are not those of its size."""
    header = png_header(data)
    inflate = zlib.decompressobj()
    expected, found = header.size, 0
    try:
        for piece in _picture_data(data):
            for start in range(0, len(piece), _SLICE):
                rest: bytes | memoryview = piece[start : start + _SLICE]
                while rest and found <= expected:
                    found += len(inflate.decompress(rest, 2**20))
                    rest = inflate.unconsumed_tail
    except zlib.error as error:
        raise SampleError("broken_image", f"rows cannot be inflated: {error}") from error
    if found != expected:
        size = f"{header.width}x{header.height}"
        slug = "truncated_image" if found < expected else "broken_image"
        raise SampleError(slug, f"its rows have {found} bytes or more, {expected} make {size}")


def png_header(data: bytes) -> PngHeader:
    """SampleError where it is not one, or one of an impossible picture."""
    if len(data) < 33:
        raise SampleError("truncated_image", "a PNG without its header")
    if data[8:16] != b"\0\0\0\rIHDR":
        raise SampleError("broken_image", "a PNG that does not begin with its header")
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    if not width or not height or bits not in _DEPTHS.get(colour, ()):
        says = f"a PNG of {width}x{height} pixels, {bits} bits, colour type {colour}"
        raise SampleError("broken_image", says)
    return PngHeader(width, height, bits, colour, bool(interlaced))


def _picture_data(data: bytes) -> Iterator[memoryview]:
    """The compressed rows, piece by piece; every chunk that shapes pixels is checked on the way."""
    view = memoryview(data)
    place, ended = 8, False
    for _ in range(MAX_CHUNKS):
        if len(data) - place < 12:
            raise SampleError("truncated_image", f"a PNG that ends at byte {len(data)}")
        (size,) = struct.unpack_from(">I", data, place)
        kind = data[place + 4 : place + 8]
        end = place + 12 + size
        if end > len(data):
            raise SampleError("truncated_image", f"{kind!r} at byte {place} ends behind the file")
        (check,) = struct.unpack_from(">I", data, end - 4)
        if _shapes(kind) and zlib.crc32(view[place + 4 : end - 4]) != check:
            raise SampleError("broken_image", f"wrong checksum of {kind!r} at byte {place}")
        if kind == b"IDAT":
            if ended:
                raise SampleError("broken_image", f"more rows at byte {place}, behind other chunks")
            yield view[place + 8 : end - 4]
        elif kind == b"IEND":
            return
        place = end
    raise SampleError("broken_image", f"more than {MAX_CHUNKS} chunks")


def _shapes(kind: bytes) -> bool:
    """Whether this chunk decides what is seen: critical ones have a capital letter first, and EXIF
    turns the picture, also from behind the rows.
    """
    return kind[:1].isupper() or kind == b"eXIf"
