"""What a camera or a program wrote beside the pixels stays in the source."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from pipeline.chain.weave import RunContext, weave_chunk
from pipeline.recipe import FullRecipe
from pipeline.source.plan import EncodedSample
from tests.pipeline.shards import labels, painted

HW = (24, 32)
BOX = (4, 5, 12, 13)
MARK = "Jane Roe 48.1371N"
XMP = f"<x:xmpmeta><dc:creator>{MARK}</dc:creator></x:xmpmeta>".encode()
OUTPUTS: list[dict[str, object]] = [
    {"format": "png"},
    {"format": "jpeg"},
    {"format": "webp", "quality": 80},
    {"format": "webp", "lossless": True},
]


def exif() -> Image.Exif:
    """A name, a place, and a thumbnail's worth of maker's notes."""
    data = Image.Exif()
    data[0x013B] = data[0x010E] = MARK  # artist, description
    data.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + MARK.encode()  # comment
    data.get_ifd(0x8825)[0x001D] = MARK  # GPS
    return data


def profile() -> bytes:
    """A colour profile that bears the mark."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return data.replace(b"sRGB built-in", MARK[:13].encode())


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def source(format: str) -> bytes:
    """An image with everything that the format can carry, which is checked."""
    image = Image.fromarray(painted(*HW, [BOX]))
    text = PngInfo()
    text.add_text("Author", MARK)
    text.add_text("Comment", MARK, zip=True)
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    options: dict[str, object] = {
        "png": {"pnginfo": text},
        "jpeg": {"comment": MARK.encode(), "xmp": XMP},
        "webp": {"xmp": XMP, "lossless": True},
        "tiff": {"tiffinfo": {700: XMP, 315: MARK, 270: MARK}},
    }[format]  # type: ignore[assignment]
    data = saved(image, format, exif=exif(), icc_profile=profile(), **options)
    assert MARK.encode() in data
    assert Image.open(io.BytesIO(data)).info["icc_profile"]
    return data


def class_map() -> bytes:
    """A class-id map whose palette has text beside it."""
    text = PngInfo()
    text.add_text("Author", MARK)
    return saved(Image.fromarray(np.ones(HW, np.uint8)), "png", pnginfo=text, exif=exif())


def woven(image: bytes, output: dict[str, object]) -> dict[str, bytes]:
    """The members that a run makes of it."""
    ops = [{"kind": "classic", "transforms": [{"HorizontalFlip": {"p": 1.0}}]}]
    reads = {"shards": "a.tar", "segmentation": "seg.png"}
    recipe = FullRecipe.model_validate({"source": reads, "sink": "o", "ops": ops, "output": output})
    sample = EncodedSample("k", image, "png", labels(*HW, [BOX]), class_map(), "00", "a.tar")
    (copy,) = weave_chunk([sample], recipe, {}, RunContext("r", "d", "c"))
    assert copy.row.status == "kept", copy.row.detail
    return copy.members


def pieces(data: bytes) -> Iterator[bytes]:
    """The names of the chunks or segments of an image file."""
    if data.startswith(b"\x89PNG"):
        place = 8
        while place < len(data):
            yield data[place + 4 : place + 8]
            place += 12 + int.from_bytes(data[place : place + 4], "big")
    elif data.startswith(b"RIFF"):
        place = 12
        while place < len(data):
            yield data[place : place + 4]
            place += 8 + (int.from_bytes(data[place + 4 : place + 8], "little") + 1) // 2 * 2
    else:
        place = 2
        while data[place + 1] != 0xDA:
            yield data[place : place + 2]
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")


JPEG = {b"\xff\xe0", b"\xff\xdb", b"\xff\xc0", b"\xff\xc4"}
"""JFIF's own, and what is needed to decode."""
PLAIN = JPEG | {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"VP8 ", b"VP8L"}


@pytest.mark.parametrize("output", OUTPUTS, ids=str)
@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "tiff"])
def test_no_metadata_of_a_source_gets_into_an_output(
    format: str, output: dict[str, object]
) -> None:
    members = woven(source(format), output)
    assert len(members) == 3
    for name, data in members.items():
        assert MARK.encode() not in data
        if name != "json":
            assert set(pieces(data)) <= PLAIN
            assert (
                not {"exif", "icc_profile", "xmp", "comment"}
                & Image.open(io.BytesIO(data)).info.keys()
            )


def test_the_test_sees_metadata_where_there_is_some() -> None:
    for format in ("png", "jpeg", "webp"):
        assert set(pieces(source(format))) - PLAIN
