"""Every image file becomes the pixels that are in it, or is refused by name."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.images.formats import load
from pipeline.images.png import png_header
from schemas.errors import SampleError
from schemas.sample import ByteArray
from tests.pipeline.images.files import pixels, saved, slug
from tests.pipeline.shards import painted, png

HW = (6, 8)
IMAGE = painted(*HW, [(1, 1, 4, 3)])
DEEP = np.random.default_rng(1).integers(0, 65536, HW, dtype=np.uint16)
SQUARES = np.kron(
    np.array([[[200, 30, 40], [20, 180, 60]], [[30, 60, 210], [240, 240, 240]]], np.uint8),
    np.ones((16, 16, 1), np.uint8),
)
"""Four colours in blocks of 16: JPEG and WebP keep them."""


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["png", "tiff", "webp"]),
    st.sampled_from(["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"]),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_every_lossless_file_of_8_bits_becomes_the_rgb_that_it_shows(
    format: str, mode: str, hw: tuple[int, int]
) -> None:
    image = Image.fromarray(painted(*hw, [])).convert(mode)
    if mode == "CMYK":
        format = "tiff"  # the others have none without loss
    elif format == "webp":
        image = image.convert("RGBA" if "A" in mode else "RGB")
    options = {"lossless": True, "exact": True} if format == "webp" else {}
    assert np.array_equal(pixels(saved(image, format, **options)), np.array(image.convert("RGB")))


@pytest.mark.parametrize(
    ("format", "mode"),
    [("jpeg", "RGB"), ("jpeg", "L"), ("jpeg", "CMYK"), ("webp", "RGB"), ("webp", "L")],
)
def test_a_lossy_file_becomes_about_the_rgb_that_it_shows(format: str, mode: str) -> None:
    image = Image.fromarray(SQUARES).convert(mode)
    expected = np.array(image.convert("RGB")).astype(int)
    found = pixels(saved(image, format, quality=95))
    assert np.abs(found - expected)[8::16, 8::16].max() < 4


def test_inks_of_a_jpeg_mix_as_on_paper_whichever_way_they_are_stored() -> None:
    """CMYK, and YCCK, which is the same file with another number in Adobe's marker."""
    for c, m, y, k in ((0, 0, 0, 0), (255, 0, 0, 0), (0, 200, 100, 50), (90, 0, 255, 200)):
        expected = [(255 - ink) * (255 - k) / 255 for ink in (c, m, y)]
        cmyk = Image.new("CMYK", (16, 16), (c, m, y, k))
        assert np.abs(pixels(saved(cmyk, "jpeg", quality=100)) - expected).max() < 4
        ycc = Image.new("RGB", (1, 1), (c, m, y)).convert("YCbCr").getpixel((0, 0))
        assert isinstance(ycc, tuple)
        stored = *(255 - value for value in ycc), k  # Adobe's inks are stored inverted
        data = saved(Image.new("CMYK", (16, 16), stored), "jpeg", quality=100)
        adobe = data.index(b"Adobe")
        assert data[adobe + 11] == 0
        ycck = data[: adobe + 11] + b"\2" + data[adobe + 12 :]
        assert np.abs(pixels(ycck) - expected).max() < 6


def test_hidden_colours_behind_alpha_are_the_colours() -> None:
    rgba = np.dstack([IMAGE, np.zeros(HW, np.uint8)])
    assert np.array_equal(pixels(png(rgba)), IMAGE)
    webp = saved(Image.fromarray(rgba), "webp", lossless=True, exact=True)
    assert np.array_equal(pixels(webp), IMAGE)


def test_a_palette_with_transparency_is_decoded_without_a_warning() -> None:
    image = Image.fromarray(IMAGE).convert("P")
    data = saved(image, transparency=bytes(range(256)))
    assert np.array_equal(pixels(data), np.array(image.convert("RGB")))


def raw_png(width: int, height: int, bits: int, colour: int, body: bytes) -> bytes:
    """A PNG by hand."""

    def piece(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = piece(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + piece(b"IDAT", body) + piece(b"IEND", b"")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_gray_of_few_bits_reaches_from_black_to_white(bits: int) -> None:
    levels = 2**bits
    row = int("".join(f"{i % levels:0{bits}b}" for i in range(8)), 2).to_bytes(bits, "big")
    found = pixels(raw_png(8, 1, bits, 0, zlib.compress(b"\0" + row)))
    assert found[0, :, 0].tolist() == [(i % levels) * 255 // (levels - 1) for i in range(8)]


@pytest.mark.parametrize(
    "data",
    [
        png(DEEP),
        saved(Image.fromarray(DEEP), "tiff"),
        saved(Image.fromarray(DEEP), "tiff", compression="tiff_adobe_deflate"),
        saved(Image.fromarray(DEEP), "tiff", compression="tiff_lzw"),
        saved(Image.fromarray(DEEP), "tiff", big_tiff=True),
        saved(Image.fromarray(DEEP.astype(">u2")), "tiff"),
    ],
    ids=["png", "raw", "deflate", "lzw", "big", "big-endian"],
)
def test_gray_of_16_bits_keeps_them_all(data: bytes) -> None:
    found = pixels(data)
    assert found.dtype == np.uint16
    assert np.array_equal(found, DEEP[:, :, None])


def test_white_is_white_in_a_tiff_whose_zero_is_white() -> None:
    for array, white in ((DEEP, 65535), (IMAGE[:, :, 0], 255)):
        stored = saved(Image.fromarray(array), "tiff", tiffinfo={262: 1})
        entry = struct.pack("<HHIH", 262, 3, 1, 1)
        assert stored.count(entry) == 1
        flipped = stored.replace(entry, struct.pack("<HHIH", 262, 3, 1, 0))
        assert np.array_equal(pixels(flipped)[:, :, 0], white - array)


def pages(format: str) -> bytes:
    images = [Image.fromarray(painted(8, 8, [], level)) for level in (30, 90, 150)]
    return saved(images[0], format, save_all=True, append_images=images[1:])


def floats() -> bytes:
    return saved(Image.fromarray(DEEP.astype(np.float32)), "tiff")


def wide(colour: int, channels: int) -> bytes:
    """A PNG of 16 bits per channel."""
    return raw_png(2, 1, 16, colour, zlib.compress(b"\0" + b"\1\2" * 2 * channels))


def wide_tiff() -> bytes:
    """An RGB TIFF of 16 bits: a raw one of 8 bits and twice the width, told otherwise."""
    data = saved(Image.fromarray(np.zeros((4, 8, 3), np.uint8)), "tiff")
    place = data.index(struct.pack("<HHI", 258, 3, 3)) + 8
    (offset,) = struct.unpack_from("<I", data, place)
    data = data[:offset] + struct.pack("<HHH", 16, 16, 16) + data[offset + 6 :]
    return data.replace(struct.pack("<HHII", 256, 4, 1, 8), struct.pack("<HHII", 256, 4, 1, 4))


def signed() -> bytes:
    data = saved(Image.fromarray(DEEP), "tiff", tiffinfo={339: 1})
    return data.replace(struct.pack("<HHIH", 339, 3, 1, 1), struct.pack("<HHIH", 339, 3, 1, 2))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (pages("tiff"), "many_pages"),
        (pages("png"), "many_pages"),
        (pages("webp"), "many_pages"),
        (floats(), "float_image"),
        (saved(Image.fromarray(DEEP.astype(np.int32)), "tiff"), "deep_image"),
        (signed(), "deep_image"),
        (wide(2, 3), "deep_colour"),
        (wide(4, 2), "deep_colour"),
        (wide(6, 4), "deep_colour"),
        (wide_tiff(), "deep_colour"),
        (saved(Image.new("LAB", (4, 4)), "tiff"), "unknown_colours"),
    ],
    ids=[
        *("tiff-pages", "apng", "webp-frames", "float", "int32", "signed", "rgb16", "la16"),
        *("rgba16", "rgb16-tiff", "lab"),
    ],
)
def test_what_would_lose_something_is_refused_by_name(data: bytes, expected: str) -> None:
    assert slug(data) == expected


def test_odd_metadata_gives_no_warning() -> None:
    """In a process of its own: pytest has filters of its own."""
    data = saved(Image.fromarray(IMAGE), "tiff", tiffinfo={33432: "a note of some length"})
    place = data.index(struct.pack("<HH", 33432, 2)) + 4
    odd = data[:place] + b"\xff\xff\xff\x7f" + data[place + 4 :]
    assert np.array_equal(pixels(odd), IMAGE)
    code = "import sys, pipeline.images.formats as f; f.read_picture(sys.stdin.buffer.read())"
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], input=odd, capture_output=True, check=True
    )
    assert b"Warning" not in done.stderr


@pytest.mark.parametrize("side", [8193, 10_000, 60_000])
def test_too_many_pixels_are_refused_by_the_header(side: int) -> None:
    assert slug(raw_png(side, side, 8, 2, b"")) == "too_many_pixels"


def test_too_many_pixels_are_refused_by_the_header_of_every_format() -> None:
    small = Image.fromarray(np.zeros((16, 16, 3), np.uint8))
    tiff = saved(small, "tiff")
    for tag in (256, 257):
        entry = struct.pack("<HHII", tag, 4, 1, 16)
        assert tiff.count(entry) == 1
        tiff = tiff.replace(entry, struct.pack("<HHII", tag, 4, 1, 60_000))
    jpeg = saved(small, "jpeg")
    frame = jpeg.index(b"\xff\xc0") + 5
    jpeg = jpeg[:frame] + struct.pack(">HH", 60_000, 60_000) + jpeg[frame + 4 :]
    webp = saved(small, "webp", lossless=True)
    assert webp[12:16] == b"VP8L"
    webp = webp[:21] + struct.pack("<I", 16_382 | 16_382 << 14) + webp[25:]
    assert [slug(data) for data in (tiff, jpeg, webp)] == ["too_many_pixels"] * 3


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "tiff"])
def test_every_truncation_is_noticed(format: str) -> None:
    data = saved(Image.fromarray(painted(40, 50, [])), format)
    if format == "tiff":  # its directory stands at the end, or its pixels do
        data = data[: len(data) // 2 * 2]
    for cut in range(12, len(data) - 20, 97):
        assert slug(data[:cut]) in ("truncated_image", "broken_image")


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "tiff"])
def test_damage_gives_a_slug_or_an_image_and_never_another_error(format: str) -> None:
    whole = saved(Image.fromarray(painted(24, 30, [])), format)
    rng = np.random.default_rng(5)
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            data[place] = rng.integers(256)
        try:
            assert pixels(bytes(data)).ndim == 3
        except SampleError as error:
            assert error.slug


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"BM", b"%!PS-Adobe", b"<svg/>", b"RIFF1234WAVE"])
def test_other_formats_are_not_even_tried(data: bytes) -> None:
    assert slug(data) == "unknown_format"


def test_a_png_that_does_not_begin_with_its_header_is_refused() -> None:
    data = png(IMAGE)
    assert png_header(data).bits == 8
    swapped: bytes = data[:8] + data[33:-12] + data[8:33] + data[-12:]
    assert slug(swapped) == "broken_image"


def test_pixels_may_be_written_to() -> None:
    for data in (png(IMAGE), png(DEEP)):
        pixels(data)[0, 0] = 0  # torch warns of arrays that may not


def test_a_file_keeps_its_own_mode_for_ids() -> None:
    ids: ByteArray = np.arange(48, dtype=np.uint8).reshape(HW)
    image, orientation = load(png(ids))
    assert (image.mode, orientation) == ("L", 1)
