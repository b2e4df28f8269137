"""Damage that Pillow passes over in silence, and files made to take memory or time."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from pipeline.codec import decode
from pipeline.images import jpeg as jpeg_module
from pipeline.images import png as png_module
from pipeline.images.formats import MAX_EXIF, read_picture
from pipeline.images.tiff import MAX_NUMBERS, MAX_TAGS
from pipeline.source import EncodedSample
from schemas.errors import SampleError
from schemas.recipe import Source
from schemas.sample import ByteArray, ImageArray
from tests.pipeline.shards import painted

NOISE = np.random.default_rng(3).integers(0, 256, (101, 117, 3), dtype=np.uint8)
IMAGE = painted(24, 30, [(3, 4, 12, 15)])


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> ImageArray:
    return read_picture(data).image_hwc


def slug(data: bytes) -> str:
    with pytest.raises(SampleError) as caught:
        read_picture(data)
    return caught.value.slug


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


JPEGS = {
    "usual": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "full colour": {"subsampling": 0},
}
every_jpeg = pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)


@every_jpeg
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_that_ends_early_is_refused_though_it_has_an_end_mark(
    options: dict[str, object], mode: str
) -> None:
    data = saved(Image.fromarray(NOISE).convert(mode), "jpeg", quality=90, **options)
    assert pixels(data).shape == NOISE.shape
    first = data.index(b"\xff\xda") + 20
    # the first scan of a progressive file has all of the picture, coarsely
    last = data.index(b"\xff\xc4", first) if "progressive" in options else len(data)
    for share in (0.1, 0.3, 0.6, 0.8):
        cut = first + int((last - first) * share)
        assert slug(data[:cut] + b"\xff\xd9") == "truncated_image", share


@every_jpeg
def test_a_jpeg_of_fewer_rows_than_it_says_is_refused(options: dict[str, object]) -> None:
    data = saved(Image.fromarray(NOISE), "jpeg", **options)
    frame = data.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0") + 5
    height, width = struct.unpack_from(">HH", data, frame)
    assert (height, width) == NOISE.shape[:2]
    taller = data[:frame] + struct.pack(">HH", height + 40, width) + data[frame + 4 :]
    assert slug(taller) == "truncated_image"


@every_jpeg
@pytest.mark.parametrize("value", [0, 127, 128, 129, 255])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_picture_that_is_gray_stays_one(
    options: dict[str, object], value: int, mode: str
) -> None:
    gray = np.full((101, 117, 3), value, np.uint8)
    gray[:9, :9] = NOISE[:9, :9]
    data = saved(Image.fromarray(gray).convert(mode), "jpeg", **options)
    assert pixels(data).shape == gray.shape


def with_segments(*segments: bytes) -> bytes:
    data = saved(Image.fromarray(IMAGE), "jpeg")
    return data[:2] + b"".join(segments) + data[2:]


COMMENT = b"\xff\xfe\x00\x04ab"


def test_segments_and_scans_of_a_jpeg_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = pixels(with_segments())
    assert np.array_equal(pixels(with_segments(COMMENT * 100, b"\xff\xff\xff")), plain)
    progressive = saved(Image.fromarray(IMAGE), "jpeg", progressive=True)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    assert slug(progressive[:-2] + scan * 100 + b"\xff\xd9") == "too_many_scans"
    monkeypatch.setattr(jpeg_module, "MAX_SEGMENTS", 90)
    assert slug(with_segments(COMMENT * 100)) == "broken_image"
    monkeypatch.setattr(jpeg_module, "MAX_JUNK", 100)
    assert slug(with_segments(COMMENT, b"\0" * 200)) == "broken_image"
    assert slug(with_segments(COMMENT, b"\xff" * 200)) == "broken_image"


def test_a_jpeg_has_one_frame_with_pixels() -> None:
    data = with_segments()
    frame = data.index(b"\xff\xc0")
    (size,) = struct.unpack_from(">H", data, frame + 2)
    header = data[frame : frame + 2 + size]
    assert slug(data.replace(header, header * 2)) == "broken_image"
    assert slug(data.replace(header, b"")) == "broken_image"
    assert slug(data[: frame + 5] + bytes(4) + data[frame + 9 :]) == "broken_image"
    assert slug(data[:frame] + b"\xff\xd9") == "truncated_image"


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
