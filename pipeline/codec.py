"""Bytes <-> samples: the image, the class-id map and the labels beside them.

How pixels are read is said in `formats.py`, how they are written in `encoding.py`. Class-id maps
keep their numbers: gray or palette PNG, never through a colour conversion.

An image that EXIF turns becomes upright, and its labels turn with it: they are taken to be in the
frame in which the image is stored, as a tool that knows nothing of EXIF sees it. Where the turned
image has another size than the stored one, and the labels name the turned one (their "width" and
"height", or the size of their masks; the size of a class-id map), they are upright already, and
stay. A square image, or one that is only mirrored or upside down, cannot show which it is: the
stored frame is assumed. What is written is upright, without EXIF.

Refused as SampleError, besides what those two and labels.py name:

    missing_image, two_images, member_too_large     from the shard (see source.py)
    missing_labels, missing_segmentation            the recipe names a member that is not there
    bad_class_map, class_map_size, unknown_class_id

The recipe's `source.repair` mends labels only. A class-id map with an id that `seg_classes` does
not have fails its sample, `unknown_class_id`, whatever the policies say: there is no object to
leave out, and to call its pixels background or unlabelled would be a guess.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from pipeline.images.encoding import encode_ids, encode_image, encode_png
from pipeline.images.formats import Picture, load, read_picture
from pipeline.images.orientation import stored_size, upright
from pipeline.images.png import PngHeader, check_rows, is_png, png_header
from pipeline.labels.files import Labels, Rules, labelled_size, labels_json, read_labels, read_names
from pipeline.source.plan import EncodedSample
from schemas.errors import SampleError
from schemas.recipe import Output, Source
from schemas.sample import IGNORE_ID, ByteArray, ImageArray, Lineage, Sample

__all__ = ["check_members", "decode", "decode_image", "encode", "encode_png"]

LOSSLESS: Final = Output()


def decode(encoded: EncodedSample, source: Source) -> Sample:
    """Pixels and labels of one sample; SampleError where something is wrong with it."""
    if encoded.problem is not None:
        raise SampleError(*encoded.problem)
    picture = read_picture(encoded.image)
    lineage = Lineage(encoded.shard, encoded.key, encoded.content)
    sample = Sample(encoded.key, picture.image_hwc, None, None, lineage)
    sized = source.segmentation is not None
    if source.labels is not None:
        data = _there(encoded.labels, "missing_labels", source.labels, "labels")
        found = _labels(data, picture, Rules(source.classes, source.repair))
        sample = replace(
            sample, instances=found.instances, extra=found.extra, repairs=found.repairs
        )
        sized |= found.sized
    if source.segmentation is not None:
        suffix = source.segmentation
        data = _there(encoded.segmentation, "missing_segmentation", suffix, "segmentation")
        sample = replace(sample, class_map_hw=_class_map(data, picture, source.seg_classes))
    if not sized and is_png(encoded.image):
        check_rows(encoded.image)
    return sample


def check_members(encoded: EncodedSample, source: Source) -> None:
    """What shows of a sample without a decoder: members, and the classes of its labels. SampleError
    as `decode` raises it.
    """
    if encoded.problem is not None:
        raise SampleError(*encoded.problem)
    if source.labels is not None:
        data = _there(encoded.labels, "missing_labels", source.labels, "labels")
        read_names(data, Rules(source.classes, source.repair))
    if source.segmentation is not None:
        suffix = source.segmentation
        _there(encoded.segmentation, "missing_segmentation", suffix, "segmentation")


def encode(sample: Sample, source: Source, output: Output = LOSSLESS) -> dict[str, bytes]:
    """The members of one sample by their suffix: the image, and what the source names of labels."""
    members = {output.suffix: encode_image(sample.image_hwc, output)}
    if source.labels is not None:
        members[source.labels] = labels_json(sample)
    if source.segmentation is not None and sample.class_map_hw is not None:
        members[source.segmentation] = encode_ids(sample.class_map_hw)
    return members


def decode_image(data: bytes) -> ImageArray:
    """An image file, upright: (h, w, 3), or (h, w, 1) of 16 bits."""
    return read_picture(data).image_hwc


def _there(data: bytes | None, slug: str, suffix: str, name: str) -> bytes:
    if data is None:
        raise SampleError(slug, f"no .{suffix}; for a dataset without them: source.{name}: null")
    return data


def _labels(data: bytes, picture: Picture, rules: Rules) -> Labels:
    hw, stored = picture.hw, stored_size(picture.hw, picture.orientation)
    if picture.orientation == 1 or (hw != stored and labelled_size(data) == hw):
        return read_labels(data, hw, rules)
    return read_labels(data, stored, rules, picture.orientation)


def _class_map(data: bytes, picture: Picture, classes: tuple[str, ...] | None) -> ByteArray:
    hw, stored = picture.hw, stored_size(picture.hw, picture.orientation)
    if not is_png(data):
        raise SampleError("bad_class_map", f"begins with {data[:8].hex(' ')}; ids are gray PNG")
    header = png_header(data)
    if header.colour not in (0, 3) or header.bits > 8:
        says = f"colour type {header.colour} of {header.bits} bits; ids are gray PNG of 8"
        raise SampleError("bad_class_map", says)
    size = header.height, header.width
    if size not in (hw, stored):
        raise SampleError("class_map_size", f"{size}, the image {hw}")
    ids_hw = _ids(data, header)
    if size == stored:
        ids_hw = upright(ids_hw, picture.orientation)
    top = int(np.max(ids_hw, where=ids_hw != IGNORE_ID, initial=0))
    if classes is not None and top >= len(classes):
        raise SampleError("unknown_class_id", f"{top}; source.seg_classes has {len(classes)}")
    return ids_hw


def _ids(data: bytes, header: PngHeader) -> ByteArray:
    """The numbers of a class-id map, as they are stored."""
    image, _ = load(data)
    ids_hw = np.array(image).astype(np.uint8)
    return ids_hw // _GRAY_SCALE[header.bits] if image.mode == "L" else ids_hw


_GRAY_SCALE: Final = {1: 255, 2: 85, 4: 17, 8: 1}
"""Pillow stretches gray of few bits to 0..255."""
