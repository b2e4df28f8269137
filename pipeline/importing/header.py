"""An image file as it will be stored: its format, size and orientation, without decoding it.

Only where the end of a file looks wrong is the image decoded, to be sure. Damage in the middle of
it is found by whoever decodes it: a run leaves such a sample out, with the same words.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Final

from PIL import ExifTags, Image

from pipeline.importing.files import SUFFIXES
from schemas.errors import SampleError

MAX_PIXELS: Final = 2**26
MAX_BYTES: Final = 256 * 2**20

_STARTS: Final = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"II*\0": "TIFF"}
_STARTS_TOO: Final = {b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF"}
_ERRORS: Final = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
_PNG_EXIF: Final = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")


@dataclass(frozen=True)
class Header:
    """What there is to know of an image file."""

    suffixes: tuple[str, ...]
    width: int
    height: int
    orientation: int


def read_header(data: bytes) -> Header:
    """SampleError with a slug of `findings.py` where it is no image, or one of impossible size."""
    kind = _format(data)
    if len(data) > MAX_BYTES:
        raise SampleError("image_too_large", f"{len(data)} bytes")
    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise SampleError("too_many_pixels", f"{width}x{height}")
            if not _ends_well(data, kind):
                image.load()
            orientation = _orientation(image, data, kind)
    except _ERRORS as error:
        text = str(error).partition("\n")[0]
        slug = "truncated_image" if "truncated" in text.lower() else "unreadable_image"
        raise SampleError(slug, text) from None
    except Image.DecompressionBombError as error:
        raise SampleError("too_many_pixels", str(error).partition("\n")[0]) from None
    return Header(SUFFIXES[kind], width, height, orientation)


def _format(data: bytes) -> str:
    for start, kind in (_STARTS | _STARTS_TOO).items():
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if not data:
        raise SampleError("unreadable_image", "an empty file")
    raise SampleError("unknown_format", f"begins with {data[:8].hex(' ')}")


def _ends_well(data: bytes, kind: str) -> bool:
    match kind:
        case "JPEG":  # cameras leave some bytes after the end mark
            return b"\xff\xd9" in data[-4096:]
        case "PNG":
            return b"IEND" in data[-64:]
        case "WEBP":
            return int.from_bytes(data[4:8], "little") + 8 <= len(data)
    return True


def _orientation(image: Image.Image, data: bytes, kind: str) -> int:
    # Pillow decodes a PNG to look for EXIF behind its pixels: only where there may be some.
    if kind == "PNG" and not any(mark in data for mark in _PNG_EXIF):
        return 1
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1
