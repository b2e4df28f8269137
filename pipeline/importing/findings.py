"""What can be wrong with a dataset: one slug each, in the words of its owner.

A finding is `dropped` (left out of the shards), `repaired` (written, but not as it stood) or
`noted` (written as it stood; worth knowing). What it is about is a file, an image or an annotation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Fate = Literal["dropped", "repaired", "noted"]

SLUGS: Final[dict[str, str]] = {
    # images
    "missing_image": "the image file is not there",
    "unreadable_image": "no image can be read from the file",
    "unknown_format": "neither JPEG, PNG, WebP nor TIFF by its first bytes",
    "truncated_image": "the image ends early",
    "too_many_pixels": "more than 2^26 pixels",
    "image_too_large": "more than 256 MiB",
    "wrong_suffix": "the suffix is not that of the content; stored under the right one",
    "size_mismatch": "the annotation's width and height are not the image's",
    "size_missing": "the annotation says no width and height; the image's are taken",
    "exif_turned": "labels are of the image as EXIF turns it; turned to the stored pixels",
    "exif_unsure": "EXIF turns the image and sizes do not tell which way round the labels are",
    "duplicate_image_id": "an image id twice; the first counts",
    "duplicate_key": "two images of one name; the later one's key has a number added",
    "key_renamed": "a name that no key can have (dots, blanks at its ends); replaced by _",
    "unsafe_path": "the path leads out of the given folder",
    "path_repaired": "the image was found elsewhere than the annotation says",
    "image_embedded": "the image file is not there; taken from the annotation file",
    "bad_image_entry": "an entry of an image without an id or a file name",
    "image_not_listed": "an image that no annotation file names",
    "image_without_labels": "an image without an annotation",
    "labels_without_image": "an annotation file without an image",
    "not_in_split": "an image that is in none of the splits",
    "unlisted_image": "a split names an image that is not there",
    # annotation files
    "unreadable_labels": "the annotation file cannot be read",
    "unsafe_xml": "XML with a DOCTYPE or an ENTITY",
    # annotations
    "bad_annotation": "not of the form that the format asks for",
    "annotation_without_image": "an annotation of an image that is not listed",
    "unknown_category": "a category id that is not among the categories",
    "class_out_of_range": "a class id beyond the list of names",
    "bad_class_name": "an empty or unprintable class name",
    "crowd": "marked as a crowd: one outline around many objects",
    "difficult": "marked as difficult; kept as any other",
    "duplicate_object": "the same object twice",
    "box_missing": "no box",
    "box_not_finite": "a box with NaN or infinity",
    "box_reversed": "right of its left or above its bottom; ends swapped",
    "box_empty": "a box without an area",
    "box_outside": "a box wholly outside its image",
    "box_clipped": "a box that reaches out of its image; cut off at the border",
    "box_not_of_mask": "box and mask disagree; the mask's box is taken",
    "polygon_too_short": "an outline of fewer than 3 points",
    "polygon_not_finite": "an outline with NaN or infinity",
    "polygon_far_out": "an outline that leaves its image by more than 8 times its size",
    "polygon_clipped": "an outline that reaches out of its image; cut off at the border",
    "bad_rle": "run lengths that do not fill the image",
    "mask_empty": "a mask without a pixel inside the image",
    "masks_incomplete": "other objects of the image have no mask: boxes alone are kept",
    "masks_too_large": "masks of more than 2^29 pixels in one image: boxes alone are kept",
    "shape_without_area": "a point or a line",
    "rectangle_as_mask": "a rectangle among outlines; filled, as LabelMe's converter does",
    "mask_clipped": "a painted mask that reaches out of its image; cut off at the border",
    "object_map_mismatch": "the map of objects does not fit the boxes: boxes alone are kept",
    # class-id maps
    "missing_mask": "an image without a class-id map",
    "mask_without_image": "a class-id map without an image",
    "bad_class_map": "a class-id map that is no gray or palette PNG",
    "class_map_size": "the class-id map has another size than its image",
    "class_map_rewritten": "ids renumbered or turned with the image; written anew",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `annotations`: how many it takes along; `px`: by how much."""

    slug: str
    fate: Fate
    place: str
    detail: str = ""
    images: int = 0
    annotations: int = 0
    px: float = 0.0

    def __post_init__(self) -> None:
        if self.slug not in SLUGS:
            raise ValueError(f"there is no slug {self.slug!r}")


def dropped(slug: str, place: str, detail: str = "", *, annotations: int = 1) -> Finding:
    """Annotations left out."""
    return Finding(slug, "dropped", place, detail, annotations=annotations)


def repaired(slug: str, place: str, detail: str = "", *, px: float = 0.0) -> Finding:
    """Written, but not as it stood."""
    return Finding(slug, "repaired", place, detail, px=px)


def noted(slug: str, place: str, detail: str = "") -> Finding:
    """Written as it stood."""
    return Finding(slug, "noted", place, detail)


def image_dropped(slug: str, place: str, detail: str = "", *, annotations: int = 0) -> Finding:
    """An image left out, with all that was annotated in it."""
    return Finding(slug, "dropped", place, detail, images=1, annotations=annotations)
