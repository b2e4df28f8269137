"""Bytes <-> pixels: JPEG and PNG images, class-id maps, and the labels beside them.

Images become RGB of 8 bits: gray and palette images are spread over the three channels, alpha is
dropped, as OpenCV and torchvision do. Class-id maps keep their numbers: gray or palette PNG, never
through a colour conversion. Written are lossless PNG and JSON, the same bytes for the same sample.

Refused as SampleError, before any pixel is decoded where the header tells:

    missing_image, two_images, member_too_large     from the shard (see source.py)
    missing_labels, missing_segmentation            the recipe names a member that is not there
    unknown_format       neither JPEG nor PNG by its first bytes
    too_many_pixels      more than 2^26, by the header
    truncated_image      ends early
    broken_image         anything else that the decoder refuses
    deep_image           16 bits per gray pixel: no rule says how to make 8 of them
    exif_rotated         EXIF turns the image, and nothing says which way round its labels are
    bad_class_map, class_map_size, unknown_class_id
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from typing import Final

import numpy as np
from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from pipeline.labels import labels_json, read_labels
from pipeline.source import EncodedSample
from schemas.errors import SampleError
from schemas.recipe import Source
from schemas.sample import IGNORE_ID, ByteArray, Lineage, Sample

MAX_PIXELS: Final = 2**26
PNG_START: Final = b"\x89PNG\r\n\x1a\n"
JPEG_START: Final = b"\xff\xd8\xff"

PNG_LEVEL: Final = 1
PNG_STRATEGY: Final = zlib.Z_RLE
"""Measured on 8 images each, ms and bytes per kilopixel on one core; columns are zlib's levels with
its usual strategy, and run-length coding. Photographs and new texture hold few repetitions for the
levels to find; the filters and Huffman codes do the work.

                            level 1        level 4        level 6        Z_RLE
    blood cells             .055  1.09     .092  0.92     .255  0.90     .051  0.84
    blood cells + noise     .080  1.70     .166  1.44     .293  1.44     .068  1.43
    nuclei (gray, dark)     .036  0.64     .047  0.58     .115  0.53     .035  0.81
    nuclei + noise          .076  1.71     .154  1.46     .294  1.47     .068  1.45
    photographs (Kodak)     .063  1.87     .118  1.91     .209  1.89     .054  1.94
"""

_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


def decode(encoded: EncodedSample, source: Source) -> Sample:
    """Pixels and labels of one sample; SampleError where something is wrong with it."""
    if encoded.problem is not None:
        raise SampleError(*encoded.problem)
    image_hwc = decode_image(encoded.image)
    hw = image_hwc.shape[0], image_hwc.shape[1]
    lineage = Lineage(encoded.shard, encoded.key, encoded.content)
    sample = Sample(encoded.key, image_hwc, None, None, lineage)
    if source.labels is not None:
        data = _there(encoded.labels, "missing_labels", source.labels, "labels")
        instances, extra = read_labels(data, hw, source.classes)
        sample = replace(sample, instances=instances, extra=extra)
    if source.segmentation is not None:
        suffix = source.segmentation
        data = _there(encoded.segmentation, "missing_segmentation", suffix, "segmentation")
        sample = replace(sample, class_map_hw=_class_map(data, hw, source.seg_classes))
    return sample


def encode(sample: Sample, source: Source) -> dict[str, bytes]:
    """The members of one sample by their suffix: png, and what the source names of labels."""
    members = {"png": encode_png(sample.image_hwc)}
    if source.labels is not None:
        members[source.labels] = labels_json(sample)
    if source.segmentation is not None and sample.class_map_hw is not None:
        # Few values in large areas: the usual strategy finds those, and the files stay tiny.
        members[source.segmentation] = _png(sample.class_map_hw, 6, zlib.Z_DEFAULT_STRATEGY)
    return members


def encode_png(image: ByteArray) -> bytes:
    """An image, (h, w, 3) or (h, w), as PNG without loss."""
    return _png(image, PNG_LEVEL, PNG_STRATEGY)


def decode_image(data: bytes) -> ByteArray:
    """An image file as (h, w, 3)."""
    return np.array(_rgb(_load(data)))


def _png(image: ByteArray, level: int, strategy: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png", compress_level=level, compress_type=strategy)
    return buffer.getvalue()


def _there(data: bytes | None, slug: str, suffix: str, name: str) -> bytes:
    if data is None:
        raise SampleError(slug, f"no .{suffix}; for a dataset without them: source.{name}: null")
    return data


def _load(data: bytes) -> Image.Image:
    """A decoded image as it is stored. The plugins are called by name: no other format is tried."""
    if data.startswith(PNG_START):
        plugin: type[PngImageFile] | type[JpegImageFile] = PngImageFile
    elif data.startswith(JPEG_START):
        plugin = JpegImageFile
    else:
        raise SampleError(
            "unknown_format", f"neither JPEG nor PNG: begins with {data[:8].hex(' ')}"
        )
    try:
        image = plugin(io.BytesIO(data))
        _check_pixels(image)
        image.load()
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DECODER_ERRORS as error:
        slug = "truncated_image" if "truncated" in str(error) else "broken_image"
        raise SampleError(slug, str(error).partition("\n")[0]) from error
    if orientation in range(2, 9):
        raise SampleError("exif_rotated", f"EXIF orientation {orientation}; turn image and labels")
    return image


def _check_pixels(image: Image.Image) -> None:
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        raise SampleError("too_many_pixels", f"{image.width}x{image.height}; {MAX_PIXELS} at most")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        raise SampleError("deep_image", f"mode {image.mode}")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _class_map(data: bytes, hw: tuple[int, int], classes: tuple[str, ...] | None) -> ByteArray:
    image = _load(data)
    if image.mode not in ("L", "P", "1") or not data.startswith(PNG_START):
        raise SampleError("bad_class_map", f"{image.format} of mode {image.mode}; ids are gray PNG")
    class_map_hw = np.array(image).astype(np.uint8)
    if image.mode == "L":
        class_map_hw //= _GRAY_SCALE[data[24]]
    if class_map_hw.shape != hw:
        raise SampleError("class_map_size", f"{class_map_hw.shape}, the image {hw}")
    top = int(np.max(class_map_hw, where=class_map_hw != IGNORE_ID, initial=0))
    if classes is not None and top >= len(classes):
        raise SampleError("unknown_class_id", f"{top}; source.seg_classes has {len(classes)}")
    return class_map_hw


_GRAY_SCALE: Final = {1: 255, 2: 85, 4: 17, 8: 1}
"""Pillow stretches gray of few bits to 0..255; byte 24 of a PNG is its bits per pixel."""
