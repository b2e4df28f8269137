"""`noise_denoise`: noise an image to a strength, and denoise it from there; labels stay where they
are.

The classic image-to-image of diffusion (SDEdit, Meng et al. 2022), with the labels as condition:
without them a small denoiser invents objects on dark ground and washes out faint ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import numpy as np
from numpy.random import Generator

from pipeline.op import Draw, LabelContract, Models, Op, Outcome, Peers
from pipeline.ops.fields import Guidance, Range, Steps, uniform
from pipeline.regions import objects_region
from pipeline.seeds import noise_seed
from schemas.sample import BoolArray, Sample

if TYPE_CHECKING:
    from pipeline.diffusion.native import NativeNet


class NoiseDenoise(Op):
    """New texture, light and background; same labels. `protect`: what comes out bit-identical."""

    kind: Literal["noise_denoise"] = "noise_denoise"
    model: str
    strength: Range = (0.2, 0.5)
    steps: Steps = 8
    guidance: Guidance = 1.5
    protect: Literal["none", "objects", "background"] = "none"

    needs: ClassVar[str | None] = "denoise"

    @property
    def labels(self) -> LabelContract:
        """Geometry does not move."""
        return "kept"

    def draw(self, sample: Sample, rng: Generator, peers: Peers) -> Draw | None:
        """A strength from the range, and the seed of the noise."""
        return {"strength": uniform(rng, self.strength), "noise": noise_seed(rng)}

    def apply(
        self, samples: Sequence[Sample], draws: Sequence[Draw], models: Models, peers: Peers
    ) -> list[Outcome]:
        """Every image with new pixels where they are not protected."""
        from pipeline.diffusion.repaint import PaintJob, repaint_samples

        jobs = [
            PaintJob(sample, sample, self._free(sample), draw["strength"], draw["noise"])
            for sample, draw in zip(samples, draws, strict=True)
        ]
        model = cast("NativeNet", models[self.model])
        return [
            made if not isinstance(made, np.ndarray) else replace(sample, image_hwc=made)
            for sample, made in zip(
                samples, repaint_samples(model, jobs, self.steps, self.guidance), strict=True
            )
        ]

    def _free(self, sample: Sample) -> BoolArray:
        """Where pixels may change."""
        if self.protect == "objects":
            return ~objects_region(sample)
        if self.protect == "background":
            return objects_region(sample)
        return np.ones((sample.height, sample.width), bool)
