"""Laws of decoding and encoding."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.codec import decode, decode_image, encode
from pipeline.source import EncodedSample
from schemas.errors import SampleError
from schemas.recipe import Source
from schemas.sample import ByteArray
from tests.pipeline.shards import labels, painted, png

SOURCE = Source(shards=("unused",), segmentation="seg.png")
HW = (6, 8)
IMAGE = painted(*HW, [(1, 1, 4, 3)])
CLASSES = np.arange(48, dtype=np.uint8).reshape(HW)


def encoded(
    image: bytes | None = None,
    labels_: bytes | None = labels(*HW, [(1, 1, 4, 3)], note="n"),
    classes: bytes | None = None,
) -> EncodedSample:
    image = png(IMAGE) if image is None else image
    classes = png(CLASSES) if classes is None else classes
    return EncodedSample("k", image, "png", labels_, classes, "00ff", "in/a.tar")


def saved(image: Image.Image, format: str = "png", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def slug(sample: EncodedSample, source: Source = SOURCE) -> str:
    with pytest.raises(SampleError) as caught:
        decode(sample, source)
    assert "\n" not in caught.value.detail
    return caught.value.slug


def test_a_sample_survives_the_way_out_and_back() -> None:
    first = decode(encoded(), SOURCE)
    members = encode(first, SOURCE)
    assert list(members) == ["png", "json", "seg.png"]
    again = EncodedSample(
        "k", members["png"], "png", members["json"], members["seg.png"], "00ff", "in/a.tar"
    )
    second = decode(again, SOURCE)
    assert np.array_equal(second.image_hwc, IMAGE)
    assert np.array_equal(second.class_map_hw, CLASSES)  # type: ignore[arg-type]
    assert second.objects.boxes_n4.tolist() == [[1, 1, 4, 3]]
    assert (second.objects.labels, second.extra) == (("cell",), (("note", '"n"'),))
    assert second.lineage == first.lineage
    assert (first.lineage.key, first.lineage.shard, first.lineage.content) == (
        "k",
        "in/a.tar",
        "00ff",
    )
    assert encode(second, SOURCE) == members


def test_a_source_without_labels_gives_images_alone() -> None:
    source = Source(shards=("unused",), labels=None)
    sample = decode(encoded(), source)
    assert (sample.instances, sample.class_map_hw) == (None, None)
    assert list(encode(sample, source)) == ["png"]


def test_a_decoded_image_may_be_written_to() -> None:
    decode_image(png(IMAGE))[0, 0] = 0  # torch warns of arrays that may not


def test_members_that_the_recipe_names_must_be_there() -> None:
    bare = EncodedSample("k", png(IMAGE), "png", None, None, "", "")
    assert slug(bare) == "missing_labels"
    assert (
        slug(bare, Source(shards=("u",), labels=None, segmentation="s")) == "missing_segmentation"
    )


def test_a_problem_that_the_shard_shows_is_raised() -> None:
    sample = EncodedSample("k", b"", "", None, None, "", "", ("missing_image", "has json"))
    assert slug(sample) == "missing_image"


def class_map(data: bytes) -> ByteArray:
    found = decode(encoded(classes=data), SOURCE).class_map_hw
    assert found is not None
    return found


def test_ids_of_a_palette_map_are_its_indices() -> None:
    image = Image.fromarray(CLASSES).convert("P")
    image.putpalette([255, 0, 0] * 256)
    assert np.array_equal(class_map(saved(image)), CLASSES)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_ids_of_few_bits_are_not_stretched(bits: int) -> None:
    ids = CLASSES % (2**bits)
    rows = [zlib_row(row, bits) for row in ids]
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    header = struct.pack(">IIBBBBB", HW[1], HW[0], bits, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, part in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b"")):
        data += struct.pack(">I", len(part)) + kind + part
        data += struct.pack(">I", zlib.crc32(kind + part))
    assert np.array_equal(class_map(data), ids)


def zlib_row(row: ByteArray, bits: int) -> bytes:
    """One row of a gray PNG of few bits."""
    digits = "".join(f"{value:0{bits}b}" for value in row)
    return bytes(int(digits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(digits), 8))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(IMAGE), "bad_class_map"),
        (png(np.zeros(HW, np.uint16)), "bad_class_map"),
        (saved(Image.fromarray(CLASSES), "jpeg"), "bad_class_map"),
        (png(CLASSES[1:]), "class_map_size"),
        (b"", "unknown_format"),
    ],
)
def test_a_bad_class_map_has_a_slug(data: bytes, expected: str) -> None:
    assert slug(encoded(classes=data)) == expected


def test_class_ids_are_those_of_the_recipe_or_ignored() -> None:
    source = SOURCE.model_copy(update={"seg_classes": ("background", "cell")})
    ids = (CLASSES % 2).astype(np.uint8)
    ids[0, 0] = 255
    assert decode(encoded(classes=png(ids)), source).class_map_hw is not None
    ids[0, 0] = 2
    assert slug(encoded(classes=png(ids)), source) == "unknown_class_id"
