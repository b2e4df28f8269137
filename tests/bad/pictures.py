"""Bad images: cut, mislabelled, animated, too deep, and headers that promise what is not there."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
from PIL import Image

from tests.bad.building import Case, Kinds, case, sample
from tests.pipeline.shards import painted, png

HW = (24, 32)
PIXELS: Final = painted(*HW, [(4, 5, 12, 13), (16, 8, 30, 20)])
PNG: Final = png(PIXELS)
DAMAGED = ("truncated_image", "broken_image")
DEEP = np.arange(24 * 32, dtype=np.uint16).reshape(HW) * 60


def saved(image: Image.Image, format: str = "png", **options: object) -> bytes:
    """By Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def piece(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(width: int, height: int, body: bytes, *before: bytes, bits: int = 8) -> bytes:
    """An RGB PNG by hand."""
    head = piece(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0))
    parts = [head, *before, piece(b"IDAT", body), piece(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def zeros(number: int) -> bytes:
    """So many zeros, as zlib packs them; built of one megabyte that repeats."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    megabyte = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    rest = packer.compress(bytes(number % 2**20)) + packer.flush()
    check = struct.pack(">HH", number % 65521, 1)  # Adler-32 of zeros: 1, and how many there are
    return b"\x78\xda" + megabyte * (number // 2**20) + rest + check


def fails(image: Callable[[], bytes] | bytes, *slugs: str) -> Case:
    """A sample with this image."""
    data = image if isinstance(image, bytes) else image()
    return case(sample("bad", png=data), failed={"bad": slugs})


def legal(image: Callable[[], bytes] | bytes) -> Case:
    """A sample with this image, which is read."""
    data = image if isinstance(image, bytes) else image()
    return case(sample("bad", png=data), legal=("bad",))


def either(image: Callable[[], bytes] | bytes) -> Case:
    """A sample with this image, which may be read or refused."""
    data = image if isinstance(image, bytes) else image()
    return case(sample("bad", png=data), either=("bad",))


def jpeg(**options: object) -> bytes:
    """The picture as JPEG."""
    return saved(Image.fromarray(PIXELS), "jpeg", **options)


def cmyk() -> bytes:
    """Inks."""
    return saved(Image.fromarray(PIXELS).convert("CMYK"), "jpeg")


def frames(format: str) -> bytes:
    """Three pictures in one file."""
    pictures = [Image.fromarray(painted(*HW, [], level)) for level in (30, 90, 150)]
    return saved(pictures[0], format, save_all=True, append_images=pictures[1:])


def huge_jpeg() -> bytes:
    """A JPEG whose header says 65,500 a side."""
    data = jpeg()
    frame = data.index(b"\xff\xc0") + 5
    return data[:frame] + struct.pack(">HH", 65_500, 65_500) + data[frame + 4 :]


def huge_webp() -> bytes:
    """A lossless WebP whose header says 16,383 a side."""
    data = saved(Image.fromarray(PIXELS), "webp", lossless=True)
    return data[:21] + struct.pack("<I", 16_382 | 16_382 << 14) + data[25:]


def tiff_tag(tag: int, old: int, new: int) -> bytes:
    """An uncompressed TIFF one of whose numbers is another."""
    data = saved(Image.fromarray(PIXELS), "tiff")
    entry = struct.pack("<HHII", tag, 4, 1, old)
    assert data.count(entry) == 1
    return data.replace(entry, struct.pack("<HHII", tag, 4, 1, new))


def tiff_in_a_ring() -> bytes:
    """A TIFF whose next page is itself."""
    data = saved(Image.fromarray(PIXELS), "tiff")
    (first,) = struct.unpack_from("<I", data, 4)
    (n,) = struct.unpack_from("<H", data, first)
    end = first + 2 + 12 * n
    return data[:end] + struct.pack("<I", first) + data[end + 4 :]


def tiff_of_counts() -> bytes:
    """A TIFF with a tag of four billion values."""
    data = saved(Image.fromarray(PIXELS), "tiff")
    (first,) = struct.unpack_from("<I", data, 4)
    place = first + 2 + 4
    return data[:place] + b"\xff\xff\xff\x7f" + data[place + 4 :]


def scans() -> bytes:
    """A progressive JPEG whose last scan comes two thousand times more: minutes for a large one."""
    data = saved(Image.fromarray(np.full((*HW, 3), 77, np.uint8)), "jpeg", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * 2000 + data[-2:]


def bomb(kind: bytes) -> bytes:
    """A text or profile chunk that unpacks to 2 GiB."""
    heads = {b"zTXt": b"a\0\0", b"iCCP": b"a\0\0", b"iTXt": b"a\0\1\0\0\0"}
    return PNG[:33] + piece(kind, heads[kind] + zeros(2 * 2**30)) + PNG[33:]


def many_chunks() -> bytes:
    """Fifty thousand text chunks."""
    return PNG[:33] + piece(b"tEXt", b"a\0b") * 50_000 + PNG[33:]


BODY = zlib.compress((b"\0" + bytes(32 * 3)) * 24)

KINDS: Final[Kinds] = {
    "image_empty": partial(fails, b"", "unknown_format"),
    "image_of_text": partial(fails, b"<html>404</html>", "unknown_format"),
    "image_of_zeros": partial(fails, bytes(4000), "unknown_format"),
    "gif_named_png": partial(
        fails, lambda: saved(Image.fromarray(PIXELS), "gif"), "unknown_format"
    ),
    "bmp_named_png": partial(
        fails, lambda: saved(Image.fromarray(PIXELS), "bmp"), "unknown_format"
    ),
    "postscript": partial(
        fails, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unknown_format"
    ),
    "svg": partial(fails, b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unknown_format"),
    "jpeg_named_png": partial(legal, jpeg),
    "webp_named_png": partial(legal, lambda: saved(Image.fromarray(PIXELS), "webp")),
    "cmyk": partial(legal, cmyk),
    "gray_of_16_bits": partial(legal, lambda: png(DEEP)),  # type: ignore[arg-type]
    "colour_of_16_bits": partial(
        fails,
        lambda: raw_png(32, 24, zlib.compress((b"\0" + bytes(32 * 6)) * 24), bits=16),
        "deep_colour",
    ),
    "float_tiff": partial(
        fails, lambda: saved(Image.fromarray(DEEP.astype(np.float32)), "tiff"), "float_image"
    ),
    "animated_png": partial(fails, partial(frames, "png"), "many_pages"),
    "animated_webp": partial(fails, partial(frames, "webp"), "many_pages"),
    "tiff_of_pages": partial(fails, partial(frames, "tiff"), "many_pages"),
    "png_cut_in_header": partial(fails, PNG[:20], *DAMAGED),
    "png_cut_in_half": partial(fails, PNG[: len(PNG) // 2], *DAMAGED),
    "png_without_pixels": partial(fails, PNG[:33] + piece(b"IEND", b""), *DAMAGED),
    "jpeg_cut_in_half": partial(fails, lambda: jpeg()[:-300], *DAMAGED),
    "webp_cut": partial(fails, lambda: saved(Image.fromarray(PIXELS), "webp")[:-40], *DAMAGED),
    "tiff_cut": partial(fails, lambda: saved(Image.fromarray(PIXELS), "tiff")[:-900], *DAMAGED),
    "png_wrong_checksum": partial(fails, PNG[:60] + bytes([PNG[60] ^ 255]) + PNG[61:], *DAMAGED),
    "png_100k_a_side": partial(fails, raw_png(100_000, 100_000, BODY), "too_many_pixels"),
    "png_2_billion_a_side": partial(
        fails, raw_png(2**31 - 1, 2**31 - 1, BODY), "too_many_pixels", *DAMAGED
    ),
    "png_one_row_of_a_billion": partial(
        fails, raw_png(10**9, 1, BODY), "too_many_pixels", *DAMAGED
    ),
    "png_of_no_pixels": partial(fails, raw_png(0, 0, BODY), *DAMAGED),
    "png_says_more_than_it_has": partial(fails, raw_png(3200, 2400, BODY), *DAMAGED),
    "png_says_less_than_it_has": partial(either, raw_png(32, 12, BODY)),
    "png_pixels_bomb": partial(either, lambda: raw_png(32, 24, zeros(2 * 2**30))),
    "png_text_bomb": partial(either, partial(bomb, b"zTXt")),
    "png_profile_bomb": partial(either, partial(bomb, b"iCCP")),
    "png_unicode_bomb": partial(either, partial(bomb, b"iTXt")),
    "png_many_chunks": partial(either, many_chunks),
    "png_chunk_of_2_gib": partial(fails, PNG[:33] + b"\x7f\xff\xff\xfftEXt" + PNG[33:], *DAMAGED),
    "jpeg_65500_a_side": partial(fails, huge_jpeg, "too_many_pixels"),
    "jpeg_of_2000_scans": partial(fails, scans, "too_many_scans", *DAMAGED),
    "webp_16383_a_side": partial(fails, huge_webp, "too_many_pixels"),
    "tiff_60000_a_side": partial(
        fails, lambda: tiff_tag(257, 24, 4_000_000_000), "too_many_pixels"
    ),
    "tiff_in_a_ring": partial(either, tiff_in_a_ring),
    "tiff_of_four_billion_values": partial(either, tiff_of_counts),
    "tiff_strip_outside": partial(either, lambda: tiff_tag(279, HW[0] * HW[1] * 3, 4_000_000_000)),
    "jpeg_header_alone": partial(fails, b"\xff\xd8\xff\xe0", *DAMAGED),
    "tiff_header_alone": partial(fails, b"II*\0\xff\xff\xff\xff", *DAMAGED),
    "webp_header_alone": partial(fails, b"RIFF\xff\xff\xff\xffWEBPVP8X", *DAMAGED),
}
