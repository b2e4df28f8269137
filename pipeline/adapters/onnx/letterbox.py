"""An image at a network's size without squashing it, and what the network says of it back again.

The image keeps its aspect and lies in the middle, on the gray that the YOLO family is trained with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.detection.crops import resized
from schemas.sample import ByteArray, FloatArray

Shape = tuple[int, int]

GRAY: Final = 114


@dataclass(frozen=True)
class Letterbox:
    """Where an image lies: `inner` is its size there, `corner` its top and left."""

    image: Shape
    net: Shape
    inner: Shape

    @classmethod
    def fitting(cls, image: Shape, net: Shape) -> Letterbox:
        """As large as it fits."""
        scale = min(net[0] / image[0], net[1] / image[1])
        height, width = (
            min(most, max(1, round(side * scale))) for side, most in zip(image, net, strict=True)
        )
        return cls(image, net, (height, width))

    @classmethod
    def at_own_size(cls, image: Shape, multiple: int) -> Letterbox:
        """As it is, padded to a multiple."""
        height, width = (-(-side // multiple) * multiple for side in image)
        return cls(image, (height, width), image)

    @property
    def corner(self) -> Shape:
        """Top and left of the image in the network's input."""
        return (self.net[0] - self.inner[0]) // 2, (self.net[1] - self.inner[1]) // 2

    @property
    def inside(self) -> tuple[slice, slice]:
        """Rows and columns of the image in the network's input."""
        top, left = self.corner
        return slice(top, top + self.inner[0]), slice(left, left + self.inner[1])

    def put(self, image_hwc: ByteArray) -> ByteArray:
        """What the network sees."""
        seen: ByteArray = np.full((*self.net, 3), GRAY, np.uint8)
        seen[self.inside] = resized(image_hwc, self.inner)
        return seen

    def boxes(self, boxes_n4: FloatArray) -> FloatArray:
        """Boxes in the network's input as boxes in the image."""
        (top, left), zoom = self.corner, np.array(self.image) / np.array(self.inner)
        moved: FloatArray = (boxes_n4 - [left, top, left, top]) * zoom[[1, 0, 1, 0]]
        return moved

    def plane(self, values_hw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values over the network's input, at any resolution, over the image: bilinear."""
        return _bilinear(_bilinear(values_hw, self.net)[self.inside], self.image)

    def ids(self, ids_hw: NDArray[np.int64]) -> NDArray[np.int64]:
        """Class ids over the network's input, at any resolution, over the image: the nearest."""
        return _nearest(_nearest(ids_hw, self.net)[self.inside], self.image)


def _bilinear(values_hw: NDArray[np.float32], hw: Shape) -> NDArray[np.float32]:
    if values_hw.shape == hw:
        return values_hw
    resized_hw = cv2.resize(np.ascontiguousarray(values_hw), hw[::-1])
    return np.asarray(resized_hw, np.float32)


def _nearest(ids_hw: NDArray[np.int64], hw: Shape) -> NDArray[np.int64]:
    rows, columns = (
        ((np.arange(wanted) + 0.5) * there / wanted).astype(np.intp)
        for wanted, there in zip(hw, ids_hw.shape, strict=True)
    )
    there_hw: NDArray[np.int64] = ids_hw[rows[:, None], columns[None, :]]
    return there_hw
