"""One image with its labels, as every op and gate sees it.

An image is one of two things: RGB of 8 bits, (h, w, 3) uint8, which every op takes; or deep gray of
16 bits, (h, w, 1) uint16, `sample.deep`, which only ops that say so take (`Op.deep`). Deep gray is
never made 8 bits in silence: an op that cannot carry it fails the sample by name, `deep_image`.

Boxes are xyxy, absolute pixels, half-open: a box that covers the whole image is (0, 0, width,
height). Values, not mutation: use `dataclasses.replace`. Shapes are checked at construction and
trusted after.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from schemas.errors import SampleError
from schemas.index import Repair

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
ByteArray = NDArray[np.uint8]
DeepArray = NDArray[np.uint16]
ImageArray = NDArray[np.uint8 | np.uint16]
"""RGB of 8 bits or deep gray of 16."""

_KINDS: Final = (((3,), "uint8"), ((1,), "uint16"))

IGNORE_ID = 255
"""The class id of pixels that nobody labelled, in every class-id map."""


@dataclass(frozen=True, eq=False)
class Instances:
    """The objects of one image. `masks_nhw`: one mask per box, of the image's size, or absent."""

    boxes_n4: FloatArray
    labels: tuple[str, ...]
    masks_nhw: BoolArray | None = None

    def __post_init__(self) -> None:
        n = len(self.labels)
        if self.boxes_n4.shape != (n, 4):
            raise ValueError(f"boxes_n4 is {self.boxes_n4.shape}, expected ({n}, 4)")
        if self.masks_nhw is not None and (self.masks_nhw.ndim != 3 or len(self.masks_nhw) != n):
            raise ValueError(f"masks_nhw is {self.masks_nhw.shape}, expected ({n}, h, w)")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, keep: list[int]) -> Instances:
        """The instances at these positions, in this order."""
        masks = None if self.masks_nhw is None else self.masks_nhw[keep]
        return Instances(self.boxes_n4[keep], tuple(self.labels[i] for i in keep), masks)


NO_INSTANCES = Instances(np.zeros((0, 4)), ())


@dataclass(frozen=True)
class Lineage:
    """Where a sample comes from. `content` is the hex digest of the source members' bytes."""

    shard: str
    key: str
    content: str
    copy: int = 0


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its labels. `instances` and `class_map_hw` are None where the dataset has
    none.

    `extra` holds the other keys of the labels file as (key, JSON text): they are carried along.
    `repairs` says what the recipe's policies mended in the labels as they were read.
    """

    key: str
    image_hwc: ImageArray
    instances: Instances | None
    class_map_hw: ByteArray | None
    lineage: Lineage = field(default_factory=lambda: Lineage("", "", ""))
    extra: tuple[tuple[str, str], ...] = ()
    repairs: tuple[Repair, ...] = ()

    def __post_init__(self) -> None:
        if (self.image_hwc.shape[2:], self.image_hwc.dtype.name) not in _KINDS:
            raise ValueError(
                f"image_hwc is {self.image_hwc.shape} {self.image_hwc.dtype}, "
                "expected (h, w, 3) uint8 or (h, w, 1) uint16"
            )
        hw = self.image_hwc.shape[:2]
        if self.class_map_hw is not None and self.class_map_hw.shape != hw:
            raise ValueError(f"class_map_hw is {self.class_map_hw.shape}, the image {hw}")
        masks = self.instances.masks_nhw if self.instances is not None else None
        if masks is not None and masks.shape[1:] != hw:
            raise ValueError(f"masks_nhw is {masks.shape}, the image {hw}")

    @property
    def height(self) -> int:
        """Rows of the image."""
        return int(self.image_hwc.shape[0])

    @property
    def width(self) -> int:
        """Columns of the image."""
        return int(self.image_hwc.shape[1])

    @property
    def deep(self) -> bool:
        """Whether the image is gray of 16 bits."""
        return bool(self.image_hwc.dtype == np.uint16)

    @property
    def rgb_hwc(self) -> ByteArray:
        """The image for code that takes 8 bits only; SampleError `deep_image` where it is deep."""
        if self.deep:
            raise SampleError("deep_image", "takes 8-bit images only")
        return cast(ByteArray, self.image_hwc)

    @property
    def objects(self) -> Instances:
        """The instances, or none of them where the dataset has no boxes."""
        return NO_INSTANCES if self.instances is None else self.instances
