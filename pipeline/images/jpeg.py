"""JPEG files before and after they are decoded: what libjpeg conceals.

It takes nearly anything for a picture: where the compressed data ends early, or the header names
more rows than there are, it fills up with gray and says nothing that Pillow would pass on. So a
picture whose last pixel is as bright as that gray (one of fifty is) is decoded once more, with
other bytes in place of what is missing: where these show, the gray was not in the file, and it is
`truncated_image`. What cannot be
seen: damage within the compressed data that ends where it should (JPEG has no checksum), and a
header that names fewer rows or other columns; the labels' "width" and "height" show that one.

Bounded, as each costs time: segments in front of the picture, and its scans (`too_many_scans`): a
scan of 95 bytes takes 25 ms at 64 megapixels, and a file can hold a million of them.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
from itertools import islice
from typing import Final

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from schemas.errors import SampleError

MAX_SCANS: Final = 100
"""Progressive files have about ten."""
MAX_SEGMENTS: Final = 4096
MAX_JUNK: Final = 2**16
"""Bytes between two segments."""

_SOS, _EOI = 0xDA, 0xD9
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE: Final = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
_ENDS: Final = re.compile(rb"\xff[\xc4\xd9\xda\xdb\xdd\xe0-\xef\xfe]")
"""Markers that end compressed data; it holds restart markers only."""
_GRAY: Final = (126, 130)
_LUMA: Final = (0.299, 0.587, 0.114)
_OTHER: Final = hashlib.blake2b(b"other").digest().replace(b"\xff", b"\xfe")


def check_jpeg(data: bytes, max_pixels: int) -> None:
    """SampleError where the segments in front of the picture are none, or the picture is too large
    or a bomb.
    """
    framed = False
    for marker, place in _segments(data):
        if marker in _FRAMES:
            if framed:
                raise SampleError("broken_image", f"a second frame header at byte {place}")
            framed = True
            height, width = struct.unpack_from(">HH", data, place + 5)
            if not width or not height:
                raise SampleError("broken_image", f"a JPEG of {width}x{height} pixels")
            if width * height > max_pixels:
                raise SampleError("too_many_pixels", f"{width}x{height}; {max_pixels} at most")
    if not framed:
        raise SampleError("broken_image", "no frame header in front of the picture")
    scans = data.count(b"\xff\xda")  # compressed data never holds these two bytes
    if scans > MAX_SCANS:
        raise SampleError("too_many_scans", f"{scans} scans, {MAX_SCANS} at most")


def check_tail(image: Image.Image, data: bytes) -> None:
    """SampleError `truncated_image` where the end of a decoded picture is not in the file."""
    width, height = image.size
    last = np.asarray(image.crop((width - 1, height - 1, width, height))).ravel()
    bright = float(np.dot(last, _LUMA)) if len(last) == 3 else float(last[-1])  # gray, or K
    if not _GRAY[0] <= bright <= _GRAY[1]:
        return
    try:
        again = JpegImageFile(io.BytesIO(_with_other_ends(data)))
        again.load()
    except (OSError, SyntaxError, ValueError):
        return  # it did decode before
    for top in range(0, height, 256):
        band = (0, top, width, min(top + 256, height))
        if not np.array_equal(np.asarray(image.crop(band)), np.asarray(again.crop(band))):
            raise SampleError("truncated_image", f"its data ends below row {top} of {height}")


def _with_other_ends(data: bytes) -> bytes:
    """The file with more data behind that of each scan: what is whole needs none of it."""
    view = memoryview(data)
    start = data.find(b"\xff\xda")
    restarts = b"\xff\xdd" in data[:start]
    parts: list[bytes | memoryview] = [view[:start]]
    for end in islice(_ENDS.finditer(data, start + 2), 8 * MAX_SCANS):
        parts += [view[start : end.start()], _OTHER]
        if restarts:
            parts += [_next_restart(data, start, end.start()), _OTHER]
        start = end.start()
        if data[start + 1] == _EOI:
            break
    return b"".join([*parts, view[start:]])


def _next_restart(data: bytes, start: int, end: int) -> bytes:
    """The restart marker that would follow the last one between these places: they count to 7."""
    found = [data.rfind(b"\xff" + bytes([0xD0 + n]), start, end) for n in range(8)]
    n = (found.index(max(found)) + 1) % 8 if max(found) >= 0 else 0
    return b"\xff" + bytes([0xD0 + n])


def _segments(data: bytes) -> list[tuple[int, int]]:
    """Marker and place of every segment up to the first scan."""
    found: list[tuple[int, int]] = []
    place = 2
    for _ in range(MAX_SEGMENTS):
        start = data.find(b"\xff", place, place + MAX_JUNK)
        while 0 <= start < place + MAX_JUNK and data[start + 1 : start + 2] == b"\xff":
            start += 1
        if start + 4 > len(data):
            raise SampleError("truncated_image", f"a JPEG that ends at byte {len(data)}")
        if start < 0 or start >= place + MAX_JUNK:
            raise SampleError("broken_image", f"no segment at byte {place}")
        marker = data[start + 1]
        place = start + 2
        if marker == _EOI:
            raise SampleError("truncated_image", f"ends at byte {start}, in front of its picture")
        if marker == _SOS:
            return found
        if marker not in _BARE:
            found.append((marker, start))
            place += struct.unpack_from(">H", data, place)[0]
    raise SampleError("broken_image", f"more than {MAX_SEGMENTS} segments in front of the picture")
