"""`noise_denoise`: noise an image to a strength, and denoise it from there; labels stay where they
are.

The classic image-to-image of diffusion (SDEdit, Meng et al. 2022), with the labels as condition:
without them a small denoiser invents objects on dark ground and washes out faint ones.

`strength: adaptive` gives every image as much noise as its own detail bears: fine structure gets
less (`pipeline/detail.py` has the rule and its numbers).

`protect` and `classes` together say what comes out bit-identical:

    protect: none                     nothing
    protect: none, classes: [WBC]     the objects of other classes
    protect: background               all but the objects
    protect: background, classes      all but the objects of these classes
    protect: objects                  the objects
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from numpy.random import Generator
from pydantic import field_validator

from pipeline.detail import fitting_strength
from pipeline.labels.regions import Protect, free_region, of_classes
from pipeline.model import Job, Models, PaintJob
from pipeline.op import Draw, LabelContract, Outcome, Peers
from pipeline.ops.fields import Classes, Range, free_classes, uniform
from pipeline.ops.sampled import PaintOp
from pipeline.seeds import noise_seed
from schemas.sample import Sample


class NoiseDenoise(PaintOp):
    """New texture, light and background; same labels."""

    kind: Literal["noise_denoise"] = "noise_denoise"
    model: str
    strength: Range | Literal["adaptive"] = (0.2, 0.5)
    protect: Protect = "none"
    classes: Classes = None

    _one_of_the_two = field_validator("classes")(free_classes)

    needs: ClassVar[Job | None] = "denoise"
    native_steps: ClassVar[int] = 8
    native_guidance: ClassVar[float] = 1.5
    deep: ClassVar[bool] = True

    @property
    def labels(self) -> LabelContract:
        """Geometry does not move."""
        return "kept"

    def draw(self, sample: Sample, rng: Generator, peers: Peers) -> Draw | None:
        """A strength from the range or by the image's detail, and the seed of the noise."""
        of_classes(sample, self.classes)
        if self.strength == "adaptive":
            strength = fitting_strength(sample.image_hwc)
        else:
            strength = uniform(rng, self.strength)
        return {"strength": strength, "noise": noise_seed(rng)} | self.said(sample, rng)

    def apply(
        self, samples: Sequence[Sample], draws: Sequence[Draw], models: Models, peers: Peers
    ) -> list[Outcome]:
        """Every image with new pixels where they are not protected."""
        frees = [free_region(sample, self.protect, self.classes) for sample in samples]
        jobs = [
            PaintJob(sample, sample, free, draw["strength"], draw["noise"])
            for sample, free, draw in zip(samples, frees, draws, strict=True)
        ]
        return [
            made if not isinstance(made, np.ndarray) else replace(sample, image_hwc=made)
            for sample, made in zip(samples, self.painted(models, jobs, draws), strict=True)
        ]
