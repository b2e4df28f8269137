"""Laws of decoding and encoding."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.codec import decode, decode_image, encode
from pipeline.images.orientation import upright
from pipeline.labels.geometry import boxes_from_masks, rle_encode
from pipeline.labels.geometry import painted as rectangles
from pipeline.source.plan import EncodedSample
from schemas.errors import SampleError
from schemas.recipe import Output, Source
from schemas.sample import ByteArray, Sample
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
        (b"", "bad_class_map"),
        (png(CLASSES)[:20], "truncated_image"),
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


def turned_file(orientation: int, format: str = "png") -> bytes:
    """The image in its stored frame, and a note of how to look at it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"tiffinfo": {0x0112: orientation}} if format == "tiff" else {"exif": exif}
    return saved(Image.fromarray(IMAGE), format, **options)


def painted_labels(boxes: list[list[int]], hw: tuple[int, int], with_size: bool = True) -> bytes:
    """A labels file whose masks are its boxes."""
    masks = [
        {"size": list(hw), "counts": rle_encode(mask)} for mask in rectangles(np.array(boxes), *hw)
    ]
    record = {"boxes": boxes, "labels": ["cell"] * len(boxes), "masks": masks}
    return json.dumps(record | ({"height": hw[0], "width": hw[1]} if with_size else {})).encode()


def assert_paint_is_labelled(sample: Sample) -> None:
    paint = sample.image_hwc[:, :, 0] == 200
    (box,) = sample.objects.boxes_n4.astype(int)
    assert paint.sum() == 6
    assert paint[box[1] : box[3], box[0] : box[2]].all()
    assert (box[2] - box[0]) * (box[3] - box[1]) == 6
    assert sample.objects.masks_nhw is not None
    assert np.array_equal(sample.objects.masks_nhw[0], paint)
    assert sample.class_map_hw is not None
    assert np.array_equal(sample.class_map_hw == 1, paint)


@pytest.mark.parametrize("format", ["png", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_of_the_stored_frame_turn_with_the_image(orientation: int, format: str) -> None:
    data, boxes = turned_file(orientation, format), [[1, 1, 4, 3]]
    ids = png((IMAGE[:, :, 0] == 200).astype(np.uint8))
    for with_size in (True, False):
        sample = decode(encoded(data, painted_labels(boxes, HW, with_size), ids), SOURCE)
        assert (sample.height, sample.width) == (HW if orientation < 5 else HW[::-1])
        assert_paint_is_labelled(sample)
    assert np.array_equal(sample.image_hwc, decode_image(data))


@pytest.mark.parametrize("orientation", range(5, 9))
@pytest.mark.parametrize("with_size", [True, False])
def test_labels_that_name_the_turned_size_are_upright_already(
    orientation: int, with_size: bool
) -> None:
    seen = upright(IMAGE, orientation)
    paint = seen[:, :, 0] == 200
    box = boxes_from_masks(paint[None]).astype(int).tolist()
    ids = png(paint.astype(np.uint8))
    members = painted_labels(box, HW[::-1], with_size), ids
    sample = decode(encoded(turned_file(orientation), *members), SOURCE)
    assert np.array_equal(sample.image_hwc, seen)
    assert_paint_is_labelled(sample)


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_exif_is_read_in_every_format_and_not_written(format: str) -> None:
    sample = decode(encoded(turned_file(6, format)), SOURCE)
    assert (sample.height, sample.width) == HW[::-1]
    members = encode(sample, SOURCE)
    again = EncodedSample("k", members["png"], "png", members["json"], members["seg.png"], "", "")
    assert np.array_equal(decode(again, SOURCE).image_hwc, sample.image_hwc)
    assert json.loads(members["json"])["width"] == HW[0]


def test_a_size_that_is_neither_is_refused() -> None:
    members = painted_labels([[1, 1, 2, 2]], (5, 5)), None
    assert slug(encoded(turned_file(6), *members)) == "size_mismatch"
    square = png(np.zeros((5, 5), np.uint8))
    assert slug(encoded(turned_file(6), classes=square)) == "class_map_size"


def test_the_member_is_named_by_its_format() -> None:
    sample = decode(encoded(), SOURCE)
    for format, suffix in (("png", "png"), ("jpeg", "jpg"), ("webp", "webp")):
        output = Output.model_validate({"format": format})
        assert list(encode(sample, SOURCE, output)) == [suffix, "json", "seg.png"]


def test_deep_gray_survives_the_way_out_and_back() -> None:
    image = np.random.default_rng(2).integers(0, 65536, HW, dtype=np.uint16)
    sample = decode(encoded(png(image)), SOURCE)
    assert sample.deep
    members = encode(sample, SOURCE)
    assert np.array_equal(decode_image(members["png"]), image[:, :, None])


@pytest.mark.parametrize("place", [24, 25, 12])
def test_a_class_map_with_a_strange_header_has_a_slug(place: int) -> None:
    data = bytearray(png(CLASSES))
    data[place] = 77
    assert slug(encoded(classes=bytes(data))) == "broken_image"
