"""An object's shape and pixels at another place: mirrored, scaled, turned, moved, in this order,
about the centre of its box.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.scene.layout import Placed
from pipeline.scene.shape import Shape
from schemas.sample import FloatArray, Sample

Window = tuple[int, int, int, int]
"""left, top, right, bottom, in the target; may reach out of it."""


def affine(centre: FloatArray, placed: Placed) -> FloatArray:
    """2x3: donor coordinates to the target's, both continuous (a pixel's centre is at 0.5)."""
    c, s = (f(np.radians(placed.angle)) * placed.scale for f in (np.cos, np.sin))
    turn = np.array([[c, -s], [s, c]]) @ np.diag([-1.0 if placed.mirror else 1.0, 1.0])
    return np.concatenate([turn, ([placed.x, placed.y] - turn @ centre)[:, None]], axis=1)


def warped_shape(shape: Shape, centre: FloatArray, placed: Placed) -> Shape:
    """The shape at its new place, not cut at the image's border."""
    matrix = affine(centre, placed)
    window = _window(shape.box, matrix)
    mask = _warp(shape.mask_hw.astype(np.float32), shape, matrix, window, cv2.INTER_LINEAR)
    return Shape.of(mask >= 0.5, window[1], window[0])


def warped_pixels(donor: Sample, centre: FloatArray, placed: Placed, window: Window) -> FloatArray:
    """The donor's pixels in a window of the target, (h, w, 3); its border is stretched beyond."""
    image, whole = donor.image_hwc.astype(np.float32), Shape(np.zeros((0, 0), bool), 0, 0)
    return _warp(image, whole, affine(centre, placed), window, cv2.INTER_CUBIC)


def _window(box: FloatArray, matrix: FloatArray) -> Window:
    corners = np.array([[x, y] for x in box[[0, 2]] for y in box[[1, 3]]])
    moved = corners @ matrix[:, :2].T + matrix[:, 2]
    low, high = np.floor(moved.min(axis=0)).astype(int), np.ceil(moved.max(axis=0)).astype(int)
    return int(low[0]) - 1, int(low[1]) - 1, int(high[0]) + 1, int(high[1]) + 1


def _warp(
    pixels: NDArray[np.float32],
    source: Shape,
    matrix: FloatArray,
    window: Window,
    how: int,
) -> FloatArray:
    """OpenCV's coordinates are those of pixel indices, in the windows of both sides."""
    turn = matrix[:, :2]
    shift = turn @ (np.array([source.left, source.top]) + 0.5) + matrix[:, 2]
    shift = shift - np.array(window[:2]) - 0.5
    size = (window[2] - window[0], window[3] - window[1])
    full = np.concatenate([turn, shift[:, None]], axis=1)
    border = cv2.BORDER_CONSTANT if how == cv2.INTER_LINEAR else cv2.BORDER_REPLICATE
    return np.asarray(cv2.warpAffine(pixels, full, size, flags=how, borderMode=border), np.float64)
