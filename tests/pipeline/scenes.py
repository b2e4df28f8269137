"""Discs on a textured ground: samples of which every pixel is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schemas.sample import Instances, Sample

Disc = tuple[float, float, float, str]
"""x, y, radius, class."""


def discs(
    places: Sequence[Disc],
    height: int = 96,
    width: int = 128,
    *,
    ground: int = 200,
    bright: int = 60,
    slack: int = 0,
    masks: bool = False,
    class_map: bool = False,
    key: str = "discs",
) -> Sample:
    """Discs of `bright` on a `ground`, later ones in front; boxes are `slack` pixels loose."""
    grain = np.random.default_rng(3).integers(-2, 3, (height, width, 1))
    image = np.broadcast_to(ground + grain, (height, width, 3)).copy()
    y, x = np.mgrid[:height, :width] + 0.5
    shapes = [(x - cx) ** 2 + (y - cy) ** 2 <= r**2 for cx, cy, r, _ in places]
    ids = np.zeros((height, width), np.uint8)
    for i, shape in enumerate(shapes):
        image[shape] = (bright + grain)[shape[:, :, None]][:, None]
        ids[shape] = 1
        shapes[:i] = [behind & ~shape for behind in shapes[:i]]
    boxes = np.array([_box(shape, slack) for shape in shapes]).reshape(-1, 4)
    boxes = np.clip(boxes, 0, [width, height, width, height])
    instances = Instances(
        boxes,
        tuple(label for *_, label in places),
        np.array(shapes, bool).reshape(-1, height, width) if masks else None,
    )
    return Sample(key, image.astype(np.uint8), instances, ids if class_map else None)


def _box(shape: np.ndarray, slack: int) -> list[float]:
    ys, xs = np.nonzero(shape)
    box = [xs.min() - slack, ys.min() - slack, xs.max() + 1 + slack, ys.max() + 1 + slack]
    return [float(v) for v in box]
