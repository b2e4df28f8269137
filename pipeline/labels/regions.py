"""Which pixels belong to objects: the regions that ops protect, repaint or clear.

An object's region is its instance mask where there is one, else its box; grown by a margin, because
the blur of an object reaches beyond its label. Where an op may touch the objects of some classes
only, the pixels that they share with others are the others'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from schemas.errors import SampleError
from schemas.sample import BoolArray, FloatArray, Sample

Protect = Literal["none", "objects", "background"]
"""What comes out of an op bit-identical."""


def free_region(sample: Sample, protect: Protect, classes: Sequence[str] | None) -> BoolArray:
    """The pixels that an op may change: neither what it protects, nor objects of other classes."""
    if protect == "objects":
        return ~objects_region(sample)
    chosen = of_classes(sample, classes)
    if protect == "none":
        return ~others_region(sample, chosen)
    if classes is None:
        return objects_region(sample)
    free = np.zeros((sample.height, sample.width), bool)
    for i in chosen:
        free |= object_region(sample, i)
    return free & ~others_region(sample, chosen)


def of_classes(sample: Sample, classes: Sequence[str] | None) -> list[int]:
    """The objects of these classes, all of them where it is None.

    Raises SampleError `no_boxes` where only a class-id map says what is there: which class of it is
    which is nobody's to guess.
    """
    if classes is None:
        return list(range(len(sample.objects)))
    if sample.instances is None and sample.class_map_hw is not None:
        raise SampleError("no_boxes", "`classes` names objects, and there is a class-id map only")
    return [i for i, label in enumerate(sample.objects.labels) if label in classes]


def object_region(sample: Sample, i: int, margin: int = 0) -> BoolArray:
    """The pixels of object i, (h, w), grown by `margin` pixels."""
    objects = sample.objects
    if objects.masks_nhw is not None:
        return _grown(objects.masks_nhw[i], margin)
    return box_region(objects.boxes_n4[i], (sample.height, sample.width), margin)


def objects_region(sample: Sample, margin: int = 0) -> BoolArray:
    """The pixels of all objects. A sample with a class-id map but no boxes: every id but 0
    (background) and 255.
    """
    region = np.zeros((sample.height, sample.width), bool)
    for i in range(len(sample.objects)):
        region |= object_region(sample, i, margin)
    if sample.instances is None and sample.class_map_hw is not None:
        region |= _grown(~np.isin(sample.class_map_hw, (0, 255)), margin)
    return region


def others_region(sample: Sample, chosen: Sequence[int]) -> BoolArray:
    """The pixels of all objects but the chosen ones."""
    region = np.zeros((sample.height, sample.width), bool)
    for i in set(range(len(sample.objects))) - set(chosen):
        region |= object_region(sample, i)
    return region


def box_region(box: FloatArray, hw: tuple[int, int], margin: int = 0) -> BoolArray:
    """The pixels that a box touches, (h, w), grown by `margin` pixels."""
    region = np.zeros(hw, bool)
    x0, y0 = (max(int(np.floor(v)) - margin, 0) for v in box[:2])
    x1, y1 = (max(int(np.ceil(v)) + margin, 0) for v in box[2:])
    region[y0:y1, x0:x1] = True
    return region


def _grown(region: BoolArray, margin: int) -> BoolArray:
    if margin == 0:
        return region
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    return cv2.dilate(region.astype(np.uint8), kernel).astype(bool)
