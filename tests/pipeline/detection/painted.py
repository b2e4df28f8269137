"""Painted samples for detectors: bright squares and dark discs on a textured ground."""

from __future__ import annotations

import cv2
import numpy as np

from schemas.sample import Instances, Sample

CLASSES = ("square", "disc")


def painted_sample(number: int, side: int = 64) -> Sample:
    """One to three objects that do not touch: a square (200) or a disc (20) on gray noise."""
    rng = np.random.default_rng(number)
    image = rng.integers(90, 130, (side, side, 3), dtype=np.uint8)
    cells = [(y, x) for y in (0, side // 2) for x in (0, side // 2)]
    boxes, labels = [], []
    for y, x in (cells[i] for i in rng.permutation(4)[: int(rng.integers(1, 4))]):
        size = int(rng.integers(14, side // 2 - 4))
        top, left = (int(at + rng.integers(side // 2 - size)) for at in (y, x))
        box = (left, top, left + size, top + size)
        if rng.integers(2):
            image[top : top + size, left : left + size] = 200
            labels.append("square")
        else:
            centre = left + size // 2, top + size // 2
            cv2.circle(image, centre, size // 2, (20, 20, 20), -1)
            labels.append("disc")
        boxes.append(box)
    return Sample(f"p{number}", image, Instances(np.array(boxes, float), tuple(labels)), None)
