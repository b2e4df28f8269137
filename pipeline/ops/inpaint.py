"""`inpaint`: part of an image made anew, around what is there (RePaint, Lugmayr et al. 2022).

Four regions: `background` gives the objects new surroundings; `redraw` makes objects again from
their label; `remove` clears objects away, and their annotation with them; `regions` fills random
holes. Outside its mask the output is the input, bit for bit.

`classes` are the objects that may be touched: redrawn, removed, or filled by a hole. `regions` can
also `protect` all objects, so that holes are filled around them, or the background, so that they
are filled in objects only; `area` is then a share of what may change.

A model that only fills holes from what is around them would clear an object away whose label stays:
it is good for `remove`, `background`, and `regions` with `protect: objects`. Where a mask may cover
objects that stay, the model must be able to redraw them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import cv2
import numpy as np
from numpy.random import Generator
from pydantic import Field, ValidationInfo, field_validator

from pipeline.labels.regions import (
    Protect,
    free_region,
    object_region,
    objects_region,
    of_classes,
    others_region,
)
from pipeline.model import Job, Models, PaintJob
from pipeline.op import Draw, LabelContract, Outcome, Peers
from pipeline.ops.fields import Classes, Range, free_classes, uniform
from pipeline.ops.sampled import PaintOp
from pipeline.seeds import noise_seed
from schemas.sample import BoolArray, ImageArray, Sample

ISOLATED = 0.02
"""`remove` takes objects of which others cover at most this share: more would leave stumps."""

VISIBLE = 0.4
"""`redraw` takes objects of which others, which must not change, cover at most this share."""


class Inpaint(PaintOp):
    """A region made anew. `remove` edits the labels; the other regions keep them."""

    kind: Literal["inpaint"] = "inpaint"
    model: str
    region: Literal["background", "redraw", "remove", "regions"]
    strength: Range | None = Field(
        None, description="left out: 1 for regions, whose holes are unknown; else [0.75, 0.95]"
    )
    objects: Range = Field(
        (0.1, 0.3), description="redraw, remove: share of the objects, at least one"
    )
    area: Range = Field((0.05, 0.2), description="regions: share of the image")
    margin: Annotated[int, Field(ge=0, le=64)] = Field(
        3, description="pixels around an object that go with it"
    )
    protect: Protect = Field("none", description="regions: what comes out bit-identical")
    classes: Classes = None

    _one_of_the_two = field_validator("classes")(free_classes)

    native_steps: ClassVar[int] = 16
    native_guidance: ClassVar[float] = 1.5
    deep: ClassVar[bool] = True

    @field_validator("protect")
    @classmethod
    def _of_holes(cls, protect: Protect, info: ValidationInfo) -> Protect:
        region = info.data.get("region")
        if protect != "none" and region not in ("regions", None):
            raise ValueError(f"region: {region} already says which pixels change; leave it out")
        return protect

    @field_validator("classes")
    @classmethod
    def _of_objects(cls, classes: Classes, info: ValidationInfo) -> Classes:
        if classes is not None and info.data.get("region") == "background":
            raise ValueError("region: background touches no object at all; leave it out")
        return classes

    @property
    def strengths(self) -> tuple[float, float]:
        """The range that is drawn from. Holes of nuclei at 1: patches 2.4 times as close to the
        real ones as at 0.75 to 0.95, and 5 dB more (8 val images).
        """
        if self.strength is not None:
            return self.strength
        return (1.0, 1.0) if self.region == "regions" else (0.75, 0.95)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Filling is enough where no object that keeps its label can be in the mask."""
        fills = self.region in ("remove", "background") or self.protect == "objects"
        return ("inpaint",) if fills else ("redraw",)

    @property
    def labels(self) -> LabelContract:
        """Only `remove` takes instances away."""
        return "edited" if self.region == "remove" else "kept"

    @property
    def keeps_pixels(self) -> bool:
        """All that is outside its mask."""
        return True

    def draw(self, sample: Sample, rng: Generator, peers: Peers) -> Draw | None:
        """Strength, noise, and which objects or holes; None where the image has no object that is
        free enough.
        """
        draw: Draw = {"strength": uniform(rng, self.strengths), "noise": noise_seed(rng)}
        mine = of_classes(sample, self.classes)
        if self.region == "regions":
            free = free_region(sample, self.protect, self.classes)
            holes = _holes(free, uniform(rng, self.area), rng) if free.any() else []
            return draw | {"holes": holes} | self.said(sample, rng) if holes else None
        if self.region == "background":
            return draw | self.said(sample, rng)
        uncovered = _uncovered(sample, ISOLATED if self.region == "remove" else VISIBLE)
        legal = [i for i in uncovered if i in mine]
        if not legal:
            return None
        count = max(1, round(uniform(rng, self.objects) * len(mine)))
        chosen = rng.permutation(len(legal))[:count]
        objects = sorted(legal[int(i)] for i in chosen)
        return draw | {"objects": objects} | self.said(sample, rng)

    def apply(
        self, samples: Sequence[Sample], draws: Sequence[Draw], models: Models, peers: Peers
    ) -> list[Outcome]:
        """Every sample with its region made anew."""
        masks = [self._mask(sample, draw) for sample, draw in zip(samples, draws, strict=True)]
        wanted = [self._wanted(*each) for each in zip(samples, draws, masks, strict=True)]
        hole = self.region in ("remove", "regions")
        jobs = [
            PaintJob(sample, want, mask, draw["strength"], draw["noise"], hole)
            for sample, want, mask, draw in zip(samples, wanted, masks, draws, strict=True)
        ]
        return [
            made if not isinstance(made, np.ndarray) else replace(want, image_hwc=made)
            for want, made in zip(wanted, self.painted(models, jobs, draws), strict=True)
        ]

    def _mask(self, sample: Sample, draw: Draw) -> BoolArray:
        """The pixels that may change."""
        if self.region == "background":
            return ~objects_region(sample, self.margin)
        mask = np.zeros((sample.height, sample.width), bool)
        if self.region == "regions":
            for x0, y0, x1, y1 in draw["holes"]:
                mask[y0:y1, x0:x1] = True
            return mask & free_region(sample, self.protect, self.classes)
        for i in draw["objects"]:
            mask |= object_region(sample, i, self.margin)
        return mask & ~others_region(sample, draw["objects"])

    def _wanted(self, sample: Sample, draw: Draw, mask: BoolArray) -> Sample:
        """The sample with the labels that it shall have, and the image to start from.

        Nothing of what was in a hole may show through.
        """
        if self.region in ("background", "redraw"):
            return sample
        sample = replace(sample, image_hwc=_filled(sample.image_hwc, mask))
        if self.region == "regions":
            return sample
        keep = [i for i in range(len(sample.objects)) if i not in set(draw["objects"])]
        ids = sample.class_map_hw
        if ids is not None:
            ids = np.where(mask, np.uint8(0), ids)
        return replace(sample, instances=sample.objects.take(keep), class_map_hw=ids)


def _filled(image_hwc: ImageArray, mask: BoolArray) -> ImageArray:
    """The mask filled smoothly from its border (Telea 2004): coarse colours for the diffusion."""
    filled = cv2.inpaint(image_hwc, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    return np.asarray(filled, image_hwc.dtype).reshape(image_hwc.shape)


def _uncovered(sample: Sample, most: float) -> list[int]:
    """Objects of which others cover at most this share."""
    n = len(sample.objects)
    count = np.zeros((sample.height, sample.width), np.int32)
    regions = [object_region(sample, i) for i in range(n)]
    for region in regions:
        count += region
    return [
        i for i, region in enumerate(regions) if region.any() and (count[region] > 1).mean() <= most
    ]


def _holes(free: BoolArray, share: float, rng: Generator) -> list[list[int]]:
    """Rectangles of about 1/16 of the image or less, until they cover this share of what is free;
    [x0, y0, x1, y1] in pixels.
    """
    covered = np.zeros_like(free)
    holes: list[list[int]] = []
    while covered[free].mean() < share and len(holes) < 64:
        height, width = (max(1, int(side * rng.uniform(0.08, 0.25))) for side in covered.shape)
        y0, x0 = (
            int(rng.integers(side - length + 1))
            for side, length in zip(covered.shape, (height, width), strict=True)
        )
        covered[y0 : y0 + height, x0 : x0 + width] = True
        holes.append([x0, y0, x0 + width, y0 + height])
    return holes
