"""Class-id maps as files: read as numbers, and written anew only where they must change."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Final

import numpy as np
from PIL import Image

from pipeline.importing.header import MAX_PIXELS
from schemas.errors import SampleError
from schemas.sample import IGNORE_ID, ByteArray

_ERRORS: Final = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
_GRAY_SCALE: Final = {1: 255, 2: 85, 4: 17, 8: 1}
"""Pillow stretches gray of few bits to 0..255; byte 24 of a PNG is its bits per pixel."""


def ids_of(data: bytes) -> ByteArray:
    """The numbers of a gray or palette PNG; SampleError for anything else."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise SampleError("bad_class_map", "no PNG: other formats change the numbers, or may")
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise SampleError("bad_class_map", f"{image.width}x{image.height} pixels")
            if image.mode not in ("L", "P", "1"):
                what = "colours" if image.mode in ("RGB", "RGBA") else f"mode {image.mode}"
                raise SampleError("bad_class_map", f"a PNG of {what}; ids are gray or palette")
            ids_hw = np.array(image).astype(np.uint8)
            if image.mode == "L":
                ids_hw //= _GRAY_SCALE[data[24]]
    except (*_ERRORS, Image.DecompressionBombError) as error:
        raise SampleError("bad_class_map", str(error).partition("\n")[0]) from None
    return ids_hw


def renumbered(ids_hw: ByteArray, ids: tuple[tuple[int, int], ...]) -> ByteArray:
    """Every number by its new one; 255 stays unless it is a class; others are a SampleError."""
    table = np.full(256, -1, np.int16)
    table[IGNORE_ID] = IGNORE_ID
    for old, new in ids:
        table[old] = new
    found = table[ids_hw]
    if (found < 0).any():
        strange = int(ids_hw[found < 0][0])
        known = ", ".join(str(old) for old, _ in ids)
        raise SampleError("class_out_of_range", f"id {strange}; named are {known}")
    return found.astype(np.uint8)


def png_of(ids_hw: ByteArray) -> bytes:
    """As gray PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(ids_hw)).save(buffer, "png", compress_level=6)
    return buffer.getvalue()
