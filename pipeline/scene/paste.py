"""Objects pasted into a sample: pixels, boxes, masks and class-id map, with what they hide.

Light (`scene/light.py`): a pasted pixel is ground + gain · (pixel - donor's ground).

Edges: the border is a ramp of about two pixels, as wide as the blur of a lens; beyond `REACH`
pixels around a pasted object no pixel changes.

What lies behind: its mask loses the hidden pixels and its box becomes tight to the rest; with boxes
alone, each side moves in as far as that of the outline that is derived from the picture, and stays
where there is no clean one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from pipeline.labels.geometry import boxes_from_masks
from pipeline.op import Peers
from pipeline.scene.cutout import cutout, object_id
from pipeline.scene.layout import Placed
from pipeline.scene.light import gain, ground_around
from pipeline.scene.shape import Shape, ellipse_in
from pipeline.scene.warp import warped_pixels, warped_shape
from schemas.sample import IGNORE_ID, BoolArray, FloatArray, Instances, Sample

REACH: Final = 3
"""Pixels around a pasted object that the ramp of its edge may change."""
RIM: Final = 4
"""Pixels to both sides of a pasted object's border that harmonising makes anew."""


@dataclass(frozen=True, eq=False)
class Pasted:
    """The sample with all objects in place, and the rim of what was pasted."""

    sample: Sample
    rim_hw: BoolArray


def paste(sample: Sample, layout: Sequence[Placed], peers: Peers) -> Pasted:
    """All objects, one over the other, in their order."""
    hw = sample.height, sample.width
    image = sample.image_hwc.astype(np.float64)
    shapes: list[Shape] = []
    for one in layout:
        donor = peers[one.key]
        shape = shape_at(one, donor).inside(*hw)
        shapes.append(shape)
        if shape.area:
            _blend(image, sample, donor, one, shape)
    pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return Pasted(
        _labelled(replace(sample, image_hwc=pixels), sample, layout, shapes, peers),
        _rim(shapes, hw),
    )


def shape_at(one: Placed, donor: Sample) -> Shape:
    """The donor's shape at its new place, also what lies outside the image."""
    return warped_shape(cutout(donor, one.i).shape, _centre(donor, one.i), one)


def _centre(donor: Sample, i: int) -> FloatArray:
    box = donor.objects.boxes_n4[i]
    centre: FloatArray = (box[:2] + box[2:]) / 2
    return centre


def _blend(image: FloatArray, sample: Sample, donor: Sample, one: Placed, shape: Shape) -> None:
    """One object into a float image, in place."""
    label = donor.objects.labels[one.i]
    top, left = max(shape.top - REACH, 0), max(shape.left - REACH, 0)
    height, width = shape.mask_hw.shape
    bottom = min(shape.top + height + REACH, sample.height)
    right = min(shape.left + width + REACH, sample.width)
    pixels = warped_pixels(donor, _centre(donor, one.i), one, (left, top, right, bottom))
    there = ground_around(donor, cutout(donor, one.i).shape)
    here = ground_around(sample, shape)
    pixels = here + gain(sample, donor, label) * (pixels - there)
    mask = shape.drawn(sample.height, sample.width)[top:bottom, left:right].astype(np.float64)
    alpha = cv2.GaussianBlur(mask, (2 * REACH + 1, 2 * REACH + 1), 0.8)[:, :, None]
    window = image[top:bottom, left:right]
    window += alpha * (pixels - window)


def _labelled(
    made: Sample, before: Sample, layout: Sequence[Placed], shapes: Sequence[Shape], peers: Peers
) -> Sample:
    """The annotation after the paste: what is behind first, then what was pasted, without what is
    hidden altogether.
    """
    hw, objects = (before.height, before.width), before.objects
    cover = np.zeros(hw, bool)
    ids = None if before.class_map_hw is None else before.class_map_hw.copy()
    masks = [] if objects.masks_nhw is None else list(objects.masks_nhw)
    seen: list[Shape] = []
    for one, shape in zip(layout, shapes, strict=True):
        seen = [other.without(shape) for other in seen] + [shape]
        cover[shape.window] |= shape.mask_hw
        if ids is not None:
            own = object_id(peers[one.key], cutout(peers[one.key], one.i).shape)
            ids[shape.window][shape.mask_hw] = IGNORE_ID if own is None else own
    masks = [mask & ~cover for mask in masks] + [shape.drawn(*hw) for shape in seen]
    boxes = [_behind(before, i, cover) for i in range(len(objects))]
    boxes += [shape.box for shape in seen]
    labels = objects.labels + tuple(peers[one.key].objects.labels[one.i] for one in layout)
    boxes_n4 = np.array(boxes, np.float64).reshape(-1, 4)
    if objects.masks_nhw is not None or before.instances is None:
        masks_nhw = np.stack(masks) if masks else np.zeros((0, *hw), bool)
        boxes_n4 = boxes_from_masks(masks_nhw)
        instances = Instances(boxes_n4, labels, masks_nhw)
    else:
        instances = Instances(boxes_n4, labels)
    left = np.flatnonzero((boxes_n4[:, 2:] > boxes_n4[:, :2]).all(axis=1)).tolist()
    return replace(made, instances=instances.take(left), class_map_hw=ids)


def _behind(sample: Sample, i: int, cover: BoolArray) -> FloatArray:
    """The box of an object of which this may be covered."""
    box: FloatArray = sample.objects.boxes_n4[i]
    shape = seen_shape(sample, i)
    rest = Shape.of(shape.mask_hw & ~cover[shape.window], shape.top, shape.left)
    if rest.area in (0, shape.area) or not _supported(sample, i):
        return box
    moved: FloatArray = box + (rest.box - shape.box)
    legal = bool((moved[2:] > moved[:2]).all())
    return moved if legal else box


def seen_shape(sample: Sample, i: int) -> Shape:
    """An object's shape, as well as it is known; the ellipse in its box at worst."""
    shape = cutout(sample, i).shape
    return (
        shape if shape.area else ellipse_in(sample.objects.boxes_n4[i], sample.height, sample.width)
    )


def _supported(sample: Sample, i: int) -> bool:
    """Whether an object's shape says where its visible part ends."""
    return sample.class_map_hw is not None or cutout(sample, i).clean


def _rim(shapes: Sequence[Shape], hw: tuple[int, int]) -> BoolArray:
    """The border of every pasted object that nothing pasted later hides, RIM pixels to both
    sides.
    """
    rim = np.zeros(hw, bool)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RIM + 1, 2 * RIM + 1))
    for shape in shapes:
        if shape.area:
            mask = shape.drawn(*hw).astype(np.uint8)
            inner = cv2.erode(mask, kernel) > 0  # beyond the image's border counts as inside
            rim &= ~inner
            rim |= (cv2.dilate(mask, kernel) > 0) & ~inner
    return rim
