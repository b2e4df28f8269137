"""Instances cut out of their image: by their mask, else by the class-id map in their box, else by
an outline that is derived from the box.

- **mask**: as it is given.
- **class-id map**: the pixels in the box that have the object's id and lie deeper in its box than
  in any other, the largest piece of them. Clean where its extent is that of the box.
- **box**: the outline is a closed path around the centre of the box, in polar coordinates, found by
  dynamic programming: inside it pixels differ from the ground around the object, outside they do
  not. It is clean where nearly all of it runs between the two: not so where objects touch or
  overlap, where the contrast is low, or where the box misses the object.

`clean` says whether the cut is good enough to be seen elsewhere. Objects that the border of the
image cuts are never clean: they would be half objects anywhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.labels.geometry import iou
from pipeline.scene.per_sample import per_sample
from pipeline.scene.shape import Shape, ellipse_in
from schemas.sample import IGNORE_ID, BoolArray, FloatArray, Sample

EXTENT_IOU: Final = 0.8
"""Of the box of a shape from a class-id map with the annotated one; below, parts are another's."""
OUTLINE_IOU: Final = 0.4
"""Of the box of a derived outline with the annotated one, which is loose in hand-made labels."""
OUTLINE_CLEAN: Final = 0.9
"""Share of a derived outline that must run between object and ground."""
CONTRAST_LAB: Final = (5.0, 14.0)
"""Lab distance from the ground at which a pixel is certainly the object's: that of the middle of
the object within these bounds. The pale cytoplasm of a white blood cell is 8 to 12 from the ground,
its nucleus 60, the noise of a smear 1 to 2."""
MIN_SIDE: Final = 4
"""Pixels; of smaller objects nothing could be recognised elsewhere."""

_ANGLES: Final = 96
_STEP: Final = 0.5  # pixels of radius


@dataclass(frozen=True, eq=False)
class Cutout:
    """One object's shape, and whether it can be shown elsewhere."""

    shape: Shape
    clean: bool


def cutout(sample: Sample, i: int) -> Cutout:
    """Object i, cut out. Remembered as long as the sample lives."""
    known = _cutouts(sample)
    if i not in known:
        known[i] = _cut(sample, i)
    return known[i]


@per_sample
def _cutouts(sample: Sample) -> dict[int, Cutout]:
    return {}


def at_border(box: FloatArray, sample: Sample) -> bool:
    """Whether a box ends at the border of the image, to a pixel: the object may go on beyond."""
    x0, y0, x1, y1 = box
    return bool(x0 < 1 or y0 < 1 or x1 > sample.width - 1 or y1 > sample.height - 1)


def _cut(sample: Sample, i: int) -> Cutout:
    objects = sample.objects
    box = objects.boxes_n4[i]
    whole = not at_border(box, sample) and bool((box[2:] - box[:2]).min() >= MIN_SIDE)
    if objects.masks_nhw is not None:
        return Cutout(Shape.of(objects.masks_nhw[i]), whole and bool(objects.masks_nhw[i].any()))
    if sample.class_map_hw is not None:
        shape = _from_map(sample, i)
        if shape.area:
            fits = iou(shape.box[None], box[None])[0, 0] >= EXTENT_IOU
            return Cutout(shape, whole and bool(fits))
    shape, share = _outlined(sample, box)
    fits = shape.area > 0 and bool(iou(shape.box[None], box[None])[0, 0] >= OUTLINE_IOU)
    if share < OUTLINE_CLEAN or not fits:
        return Cutout(ellipse_in(box, sample.height, sample.width), clean=False)
    return Cutout(shape, whole)


def object_id(sample: Sample, shape: Shape) -> int | None:
    """The most common class id under a shape; None where there is no map or none is labelled."""
    if sample.class_map_hw is None:
        return None
    ids = sample.class_map_hw[shape.window][shape.mask_hw]
    counts = np.bincount(ids[ids != IGNORE_ID], minlength=1)
    return int(counts.argmax()) if counts.any() else None


def _from_map(sample: Sample, i: int) -> Shape:
    """The object's own part of the class-id map."""
    box, ids = sample.objects.boxes_n4[i], sample.class_map_hw
    assert ids is not None
    inner = _scaled(box, 0.5)
    own = object_id(sample, ellipse_in(inner, sample.height, sample.width))
    x0, y0, x1, y1 = _whole(box, sample)
    if own is None or x0 >= x1 or y0 >= y1:
        return Shape.of(np.zeros((0, 0), bool))
    mine = ids[y0:y1, x0:x1] == own
    depth = _depth(box, x0, y0, x1, y1)
    others = np.delete(sample.objects.boxes_n4, i, axis=0)
    near = (others[:, :2] < box[2:]).all(axis=1) & (others[:, 2:] > box[:2]).all(axis=1)
    for other in others[near]:
        mine &= depth >= _depth(other, x0, y0, x1, y1)
    return Shape.of(_largest(mine), y0, x0)


def _depth(box: FloatArray, x0: int, y0: int, x1: int, y1: int) -> FloatArray:
    """1 at the centre of the box, 0 at its border, at the pixels of a window."""
    centre, half = (box[:2] + box[2:]) / 2, np.maximum((box[2:] - box[:2]) / 2, 0.5)
    x = np.abs(np.arange(x0, x1) + 0.5 - centre[0]) / half[0]
    y = np.abs(np.arange(y0, y1) + 0.5 - centre[1]) / half[1]
    inside = (x[None, :] <= 1) & (y[:, None] <= 1)
    return np.where(inside, 1 - x[None, :] ** 2 - y[:, None] ** 2, -9.0)


def _largest(mask_hw: BoolArray) -> BoolArray:
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask_hw.astype(np.uint8))
    if len(stats) < 2:
        return mask_hw
    piece: BoolArray = pieces == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return piece


def _scaled(box: FloatArray, factor: float) -> FloatArray:
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * factor
    return np.concatenate([centre - half, centre + half])


def _whole(box: FloatArray, sample: Sample, margin: int = 0) -> tuple[int, int, int, int]:
    """The box in whole pixels, grown by a margin, inside the image."""
    x0, y0 = np.maximum(np.floor(box[:2]).astype(int) - margin, 0)
    x1, y1 = np.minimum(np.ceil(box[2:]).astype(int) + margin, [sample.width, sample.height])
    return int(x0), int(y0), int(x1), int(y1)


def _outlined(sample: Sample, box: FloatArray) -> tuple[Shape, float]:
    """A shape from the picture alone, and which share of its outline runs between object and
    ground.
    """
    side = float((box[2:] - box[:2]).max())
    x0, y0, x1, y1 = _whole(box, sample, round(max(4, 0.2 * side)))
    unlike = _unlike_ground(sample, box, (x0, y0, x1, y1))
    if unlike is None:
        return Shape.of(np.zeros((0, 0), bool)), 0.0
    centre = (box[:2] + box[2:]) / 2
    angles = np.arange(_ANGLES) * (2 * np.pi / _ANGLES)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    radii = np.arange(1, side * 0.75 + 4, _STEP)
    points = centre + directions[:, None, :] * radii[None, :, None]
    at = (points - [x0 + 0.5, y0 + 0.5]).astype(np.float32)
    values = cv2.remap(
        unlike, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float64)
    legal = (points >= box[:2] - 1.5).all(axis=2) & (points <= box[2:] + 1.5).all(axis=2)
    path = _best_path(values, legal)
    outline = centre + directions * radii[path][:, None]
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    corners = np.round((outline - [x0, y0] - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(mask, [corners], 1, shift=4)
    reach = round(max(2.0, 0.04 * side) / _STEP)  # pixels to both sides of the outline
    row = np.arange(_ANGLES)
    within = values[row, np.maximum(path - reach, 0)]
    beyond = values[row, np.minimum(path + reach, len(radii) - 1)]
    share = float(((within > 0.5) & (beyond < 0.5)).mean())
    return Shape.of(mask.astype(bool), y0, x0), share


def _best_path(values_ar: FloatArray, legal_ar: BoolArray) -> NDArray[np.int64]:
    """The radius at every angle, closed and smooth: what is inside differs from the ground, what is
    outside does not.
    """
    gain = np.cumsum(values_ar - 0.5, axis=1)
    cost = np.where(legal_ar, -gain, 1e9)
    cost[:, 0] = np.minimum(cost[:, 0], 1e6)  # there is always a path
    start = int(cost.min(axis=1).argmin())
    cost = np.roll(cost, -start, axis=0)
    first = int(cost[0].argmin())
    total = np.full(cost.shape[1], 1e12)
    total[first] = cost[0, first]
    came = np.zeros(cost.shape, np.int64)
    reach, stiffness = 4, 0.7
    moves = np.arange(-reach, reach + 1)
    for k in range(1, len(cost) + 1):
        shifted = np.stack([_shift(total, int(m)) + stiffness * abs(m) for m in moves])
        best = shifted.argmin(axis=0)
        total = shifted[best, np.arange(cost.shape[1])] + cost[k % len(cost)]
        came[k % len(cost)] = np.arange(cost.shape[1]) - moves[best]
    path = np.zeros(len(cost), np.int64)
    at = first  # the path is closed
    for k in range(len(cost), 0, -1):
        path[k % len(cost)] = at
        at = int(np.clip(came[k % len(cost), at], 0, cost.shape[1] - 1))
    return np.roll(path, start)


def _shift(values: FloatArray, by: int) -> FloatArray:
    out = np.full_like(values, 1e12)
    if by >= 0:
        out[by:] = values[: len(values) - by]
    else:
        out[:by] = values[-by:]
    return out


def _unlike_ground(
    sample: Sample, box: FloatArray, window: tuple[int, int, int, int]
) -> NDArray[np.float32] | None:
    """0 where a pixel of the window looks like the ground around the object, 1 where it does not.

    None where no ground is seen around it.
    """
    x0, y0, x1, y1 = window
    patch = sample.image_hwc[y0:y1, x0:x1].astype(np.float32) / np.float32(255)
    lab = cv2.cvtColor(cv2.GaussianBlur(patch, (0, 0), 1), cv2.COLOR_RGB2LAB)
    ground = np.ones((y1 - y0, x1 - x0), bool)
    for other in sample.objects.boxes_n4:
        left, top, right, bottom = _whole(other, sample)
        rows = slice(max(top - y0, 0), max(bottom - y0, 0))
        ground[rows, max(left - x0, 0) : max(right - x0, 0)] = False
    if ground.sum() < 24:
        return None
    middle = ellipse_in(_scaled(box, 0.7), sample.height, sample.width).drawn(
        sample.height, sample.width
    )[y0:y1, x0:x1]
    if not middle.any():
        return None
    way = np.median(lab[middle], axis=0) - np.median(lab[ground], axis=0)
    contrast = float(np.linalg.norm(way))
    # along the way from ground to object: the bright rim of a cell lies on the other side
    distance = (lab - np.median(lab[ground], axis=0)) @ (way / max(contrast, 1e-6))
    inside = ellipse_in(_scaled(box, 0.9), sample.height, sample.width).drawn(
        sample.height, sample.width
    )[y0:y1, x0:x1]
    certain = max(np.clip(contrast, *CONTRAST_LAB), np.quantile(distance[inside], 0.25))
    unlike: NDArray[np.float32] = np.clip(distance / certain, 0, 1)
    return unlike.astype(np.float32)
