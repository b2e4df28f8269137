"""Classic: any transform of albumentations 2.0.8 by its class name, with its own arguments.

    kind: classic
    transforms:
      - HorizontalFlip: {p: 0.5}
      - OneOf: {transforms: [{Blur: {}}, {Sharpen: {}}], p: 0.2}

Promises
- Boxes, instance masks and class-id map move with the image. Masks and map by nearest neighbour,
  boxes recomputed from the instance masks where there are any; an object that leaves the image, or
  of which less than `min_visibility` is left, goes with its label and its mask. Class-id pixels
  that come from outside the image are 255 (ignore), unless `fill_mask` says otherwise.
- All transforms of one sample share one generator, made from the seed in its draw, and every sample
  has its own transforms: no state travels from sample to sample. (`Compose(seed=...)` would give
  each transform a generator of the same seed, so that two flips always happen together.)
- A transform that leaves the geometry alone leaves the labels exactly as they are.

- Gray of 16 bits stays what it is: transforms that carry it are exact to its levels. One that does
  not fails the sample, `deep_image`, even where chance would have left it out. What a transform
  counts from black to white it counts from 0 to 65535: for a detector of 12 bits give
  RandomBrightnessContrast `brightness_by_max: false`.

Refuses, when the recipe is read: unknown names and arguments, and transforms that need what a
recipe cannot give (other images, Python functions) or that do not return an image of bytes.
`pipeline/transforms.py` builds and checks them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.random import Generator
from pydantic import AfterValidator, Field, field_validator

from pipeline.labels.geometry import areas, boxes_from_masks, clip, painted
from pipeline.model import Models
from pipeline.op import Draw, LabelContract, Op, Outcome, Peers
from pipeline.seeds import noise_seed
from pipeline.transforms import Built, Named, build, check, refusals
from schemas.errors import SampleError
from schemas.sample import BoolArray, FloatArray, Instances, Sample

_MOVED_PX = 0.005
"""albumentations computes boxes in float32: a coordinate that differs by less has not moved."""


class Classic(Op):
    """Transforms without a model, applied one after the other."""

    kind: Literal["classic"] = "classic"
    transforms: tuple[Annotated[Named, AfterValidator(check)], ...]
    min_visibility: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of a box that must stay in the image for its object to stay",
    )

    deep: ClassVar[bool] = True

    @field_validator("transforms")
    @classmethod
    def _does_something(cls, transforms: tuple[Named, ...]) -> tuple[Named, ...]:
        if not transforms:
            raise ValueError("give at least one transform: {Name: {argument: value}}")
        return transforms

    @property
    def labels(self) -> LabelContract:
        """Any transform may be geometric."""
        return "moved"

    def draw(self, sample: Sample, rng: Generator, peers: Peers) -> Draw:
        """One seed, from which albumentations makes all its choices."""
        return {"seed": noise_seed(rng)}

    def apply(
        self, samples: Sequence[Sample], draws: Sequence[Draw], models: Models, peers: Peers
    ) -> list[Outcome]:
        """Sample by sample: there is nothing to batch."""
        return [self._outcome(*pair) for pair in zip(samples, draws, strict=True)]

    def _outcome(self, sample: Sample, draw: Draw) -> Outcome:
        chain = build(self.transforms, self.min_visibility, draw["seed"])
        if sample.deep and chain.eight_bits:
            return SampleError("deep_image", f"takes 8 bits: {', '.join(chain.eight_bits)}")
        try:
            result = chain(targets_of(sample, chain))
        except refusals() as error:
            return SampleError("transform_failed", _one_line(error))
        image_hwc = result["image"]
        kind = sample.image_hwc.shape[2:], sample.image_hwc.dtype
        if (image_hwc.shape[2:], image_hwc.dtype) != kind:
            return SampleError("not_an_image", f"{image_hwc.shape} {image_hwc.dtype}")
        if not chain.moves:
            return replace(sample, image_hwc=image_hwc)
        return _relabelled(sample, result, chain)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def targets_of(sample: Sample, chain: Built) -> dict[str, Any]:
    """What albumentations is given. The fifth column of a box is the position of its instance."""
    targets: dict[str, Any] = {"image": sample.image_hwc}
    if not chain.moves:
        return targets
    if sample.class_map_hw is not None:
        targets["mask"] = sample.class_map_hw
    objects = sample.objects
    masks_nhw = objects.masks_nhw
    if chain.boxes_as_masks:
        if masks_nhw is None:
            masks_nhw = painted(objects.boxes_n4, sample.height, sample.width)
    else:
        order_n1 = np.arange(len(objects), dtype=np.float64)[:, None]
        targets["bboxes"] = np.hstack([objects.boxes_n4, order_n1])
    if masks_nhw is not None and len(objects):
        targets["masks"] = masks_nhw * np.uint8(chain.mask_value)
    return targets


def _relabelled(sample: Sample, result: dict[str, Any], chain: Built) -> Outcome:
    hw = result["image"].shape[:2]
    class_map_hw = result.get("mask")
    masks_nhw: BoolArray | None = None
    if "masks" in result:
        masks_nhw = np.asarray(result["masks"]) == chain.mask_value
    for labels in (class_map_hw, None if masks_nhw is None else masks_nhw[0]):
        if labels is not None and labels.shape != hw:
            return SampleError("labels_left_behind", f"labels {labels.shape}, image {hw}")
    instances = sample.instances
    if instances is not None and len(instances):
        instances = _moved(instances, _boxes(result, chain, masks_nhw), masks_nhw, hw)
    elif instances is not None and instances.masks_nhw is not None:
        instances = replace(instances, masks_nhw=np.zeros((0, *hw), dtype=np.bool_))
    return replace(
        sample, image_hwc=result["image"], instances=instances, class_map_hw=class_map_hw
    )


def _boxes(result: dict[str, Any], chain: Built, masks_nhw: BoolArray | None) -> FloatArray:
    """The boxes that are left, and in the fifth column the position that each had before."""
    if not chain.boxes_as_masks or masks_nhw is None:
        boxes_m5: FloatArray = result["bboxes"].astype(np.float64)
        return boxes_m5.reshape(-1, 5) if boxes_m5.size else np.zeros((0, 5))  # (0, 4) if empty
    tight_n4 = boxes_from_masks(masks_nhw)
    left = np.flatnonzero(areas(tight_n4))
    return np.hstack([tight_n4[left], left[:, None]])


def _moved(
    before: Instances, boxes_m5: FloatArray, masks_nhw: BoolArray | None, hw: tuple[int, int]
) -> Instances:
    """The instances that are left. One that a reflecting border doubles comes several times."""
    order = boxes_m5[:, 4].astype(int)
    boxes_m4 = _settled(before.boxes_n4[order], boxes_m5[:, :4], hw)
    labels = tuple(before.labels[i] for i in order)
    if before.masks_nhw is None or masks_nhw is None:
        return Instances(boxes_m4, labels)
    masks_mhw = masks_nhw[order]
    doubled = np.flatnonzero(np.bincount(order, minlength=len(before))[order] > 1)
    masks_mhw[doubled] &= painted(boxes_m4[doubled], *hw)
    tight_m4 = boxes_from_masks(masks_mhw)
    left = np.flatnonzero(areas(tight_m4)).tolist()
    return Instances(tight_m4, labels, masks_mhw).take(left)


def _settled(before_m4: FloatArray, after_m4: FloatArray, hw: tuple[int, int]) -> FloatArray:
    """Boxes without the noise of float32, inside the image."""
    rounded = np.where(np.abs(after_m4 - before_m4) < _MOVED_PX, before_m4, after_m4.round(3))
    return clip(rounded, *hw)
