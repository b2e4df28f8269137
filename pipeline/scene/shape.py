"""The shape of one object: a mask in a window of its image, so that many of them stay small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schemas.sample import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class Shape:
    """`mask_hw` lies with its corner at (`top`, `left`) of the image."""

    mask_hw: BoolArray
    top: int
    left: int

    @staticmethod
    def of(mask_hw: BoolArray, top: int = 0, left: int = 0) -> Shape:
        """A mask, cut to its tight window."""
        rows, columns = np.flatnonzero(mask_hw.any(axis=1)), np.flatnonzero(mask_hw.any(axis=0))
        if not len(rows):
            return Shape(np.zeros((0, 0), bool), top, left)
        y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
        return Shape(mask_hw[y0:y1, x0:x1].copy(), top + y0, left + x0)

    @property
    def area(self) -> int:
        """Pixels."""
        return int(self.mask_hw.sum())

    @property
    def box(self) -> FloatArray:
        """The tight box of the window, xyxy."""
        height, width = self.mask_hw.shape
        corners = [self.left, self.top, self.left + width, self.top + height]
        return np.array(corners, np.float64)

    def inside(self, height: int, width: int) -> Shape:
        """What of it lies in an image of this size."""
        top, left = max(-self.top, 0), max(-self.left, 0)
        bottom, right = max(height - self.top, 0), max(width - self.left, 0)
        return Shape.of(self.mask_hw[top:bottom, left:right], self.top + top, self.left + left)

    def shared(self, other: Shape) -> BoolArray:
        """Which of its own pixels are also the other's, in its window."""
        common = np.zeros_like(self.mask_hw)
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom = min(self.top + self.mask_hw.shape[0], other.top + other.mask_hw.shape[0])
        right = min(self.left + self.mask_hw.shape[1], other.left + other.mask_hw.shape[1])
        if top < bottom and left < right:
            mine, theirs = (
                (
                    slice(top - shape.top, bottom - shape.top),
                    slice(left - shape.left, right - shape.left),
                )
                for shape in (self, other)
            )
            common[mine] = self.mask_hw[mine] & other.mask_hw[theirs]
        return common

    def without(self, other: Shape) -> Shape:
        """It, behind the other one."""
        return Shape.of(self.mask_hw & ~self.shared(other), self.top, self.left)

    def drawn(self, height: int, width: int) -> BoolArray:
        """The mask in the whole image, which it lies in."""
        mask: BoolArray = np.zeros((height, width), bool)
        mask[self.window] = self.mask_hw
        return mask

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the image."""
        height, width = self.mask_hw.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def ellipse_in(box: FloatArray, height: int, width: int) -> Shape:
    """The ellipse inscribed in a box, inside an image of this size."""
    x0, y0, x1, y1 = (float(v) for v in box)
    left, top = max(int(np.floor(x0)), 0), max(int(np.floor(y0)), 0)
    right, bottom = min(int(np.ceil(x1)), width), min(int(np.ceil(y1)), height)
    x = (np.arange(left, max(right, left)) + 0.5 - (x0 + x1) / 2) / max((x1 - x0) / 2, 0.5)
    y = (np.arange(top, max(bottom, top)) + 0.5 - (y0 + y1) / 2) / max((y1 - y0) / 2, 0.5)
    return Shape.of(x[None, :] ** 2 + y[:, None] ** 2 <= 1, top, left)
