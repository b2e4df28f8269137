"""PNG: damage that Pillow passes over in silence, and files made to take memory or time."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from pipeline.codec import decode
from pipeline.images import png as png_module
from pipeline.images.formats import MAX_EXIF
from pipeline.source.plan import EncodedSample
from schemas.errors import SampleError
from schemas.recipe import Source
from schemas.sample import ByteArray
from tests.pipeline.images.files import IMAGE, pixels, saved, slug


def alone(data: bytes) -> EncodedSample:
    """A sample of which nothing else says how large it is."""
    return EncodedSample("k", data, "png", b'{"boxes": [], "labels": []}', None, "", "")


def slug_alone(data: bytes) -> str:
    with pytest.raises(SampleError) as caught:
        decode(alone(data), Source(shards=("a",)))
    return caught.value.slug


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(
    width: int, height: int, rows: bytes, colour: int = 0, interlaced: int = 0, more: bytes = b""
) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, interlaced))
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + more + body + chunk(b"IEND", b"")


def test_a_png_with_any_byte_of_its_picture_changed_is_refused() -> None:
    image = Image.fromarray(IMAGE).quantize(4)
    data = saved(image, "png", transparency=bytes([0, 9, 200, 255]), compress_level=0)
    text = data.index(b"IDAT") - 4
    commented = data[:text] + chunk(b"tEXt", b"Comment\0harmless") + data[text:]
    for place in range(8, len(data)):
        damaged = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
        assert slug(damaged) in ("broken_image", "truncated_image", "too_many_pixels"), place
    assert np.array_equal(pixels(commented), pixels(data))


def test_a_damaged_turn_behind_the_rows_of_a_png_is_noticed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turn = chunk(b"eXIf", exif.tobytes()[6:])
    data = saved(Image.fromarray(IMAGE), "png")
    turned = data[:-12] + turn + data[-12:]
    assert pixels(turned).shape == (30, 24, 3)
    assert slug(turned.replace(turn, turn[:-1] + b"?")) == "broken_image"
    note = chunk(b"tEXt", b"Comment\0harmless")[:-1] + b"?"
    assert np.array_equal(pixels(data[:-12] + note + data[-12:]), IMAGE)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((8, 6), None),
        ((8, 5), "broken_image"),
        ((4, 4), "broken_image"),
        ((7, 6), "broken_image"),
        ((8, 7), "truncated_image"),
        ((10, 10), "broken_image"),
        ((0, 6), "broken_image"),
    ],
)
def test_a_png_that_holds_another_picture_than_it_says_is_refused(
    size: tuple[int, int], expected: str | None
) -> None:
    data = raw_png(*size, (b"\0" + bytes(range(8))) * 6)
    if expected is None:
        assert pixels(data)[2, :, 0].tolist() == list(range(8))
    else:
        assert slug_alone(data) == expected


def test_labels_show_that_a_png_holds_another_picture() -> None:
    data = raw_png(8, 5, (b"\0" + bytes(8)) * 6)
    sample = replace(alone(data), labels=b'{"width": 8, "height": 6, "boxes": [], "labels": []}')
    with pytest.raises(SampleError, match="size_mismatch"):
        decode(sample, Source(shards=("a",)))


@pytest.mark.parametrize("hw", [(1, 1), (3, 2), (5, 5), (8, 8), (9, 17)])
def test_the_rows_of_an_interlaced_png_are_counted(hw: tuple[int, int]) -> None:
    gray: ByteArray = np.random.default_rng(1).integers(0, 256, hw, dtype=np.uint8)
    rows = b""
    for y, x, down, right in (
        *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
        *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
    ):
        part = gray[y::down, x::right]
        rows += b"".join(b"\0" + row.tobytes() for row in part) if part.size else b""
    assert np.array_equal(pixels(raw_png(*hw[::-1], rows, interlaced=1))[:, :, 0], gray)
    decode(alone(raw_png(*hw[::-1], rows, interlaced=1)), Source(shards=("a",)))
    assert slug_alone(raw_png(*hw[::-1], rows + b"\0\0", interlaced=1)) == "broken_image"
    assert slug_alone(raw_png(*hw[::-1], rows[:-1], interlaced=1)) == "truncated_image"


def test_a_picture_that_inflates_to_more_is_not_inflated_further() -> None:
    bomb = zlib.compress(bytes(2**26))
    data = raw_png(10, 10, b"").replace(chunk(b"IDAT", zlib.compress(b"")), chunk(b"IDAT", bomb))
    assert slug_alone(data) == "broken_image"


def test_chunks_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = b"\0" * 9 * 6
    assert pixels(raw_png(8, 6, rows, more=chunk(b"teSt", b"") * 20)).any() == np.False_
    monkeypatch.setattr(png_module, "MAX_CHUNKS", 20)
    assert slug(raw_png(8, 6, rows, more=chunk(b"teSt", b"") * 20)) == "broken_image"


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "iCCP", "eXIf"])
def test_metadata_that_unpacks_to_too_much_is_refused(kind: str) -> None:
    info = PngImagePlugin.PngInfo()
    options: dict[str, object] = {"pnginfo": info}
    if kind == "iCCP":
        options["icc_profile"] = bytes(2**21)
    elif kind == "eXIf":
        options["exif"] = b"Exif\0\0II*\0" + bytes(MAX_EXIF)
    elif kind == "zTXt":
        info.add_text("bomb", "x" * 2**21, zip=True)
    else:
        info.add_itxt("bomb", "x" * 2**21, zip=True)
    data = saved(Image.fromarray(IMAGE), "png", **options)
    assert kind.encode() in data
    assert slug(data) == "metadata_too_large"


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize(
    "exif", [b"", b"nothing", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff"]
)
def test_exif_that_cannot_be_read_is_harmless(format: str, exif: bytes) -> None:
    image = Image.fromarray(IMAGE)
    options = {"lossless": True} if format == "webp" else {}
    damaged = saved(image, format, exif=b"Exif\0\0" + exif, **options)
    assert np.array_equal(pixels(damaged), pixels(saved(image, format, **options)))
