"""JPEG: pictures that end early, and files made to take time."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from pipeline.images import jpeg as jpeg_module
from tests.pipeline.images.files import IMAGE, NOISE, pixels, saved, slug

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
