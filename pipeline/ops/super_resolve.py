"""`super_resolve`: the image two or four times as large, as sharp as a model can tell it.

`then: keep` gives the larger image, and boxes, masks and class-id map follow exactly; `then:
restore` shrinks it back, so that the labels stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Final, Literal, cast

from numpy.random import Generator

from pipeline.model import EnlargeJob, Job, Models, Upscaler
from pipeline.op import Draw, LabelContract, Outcome, Peers
from pipeline.ops.sampled import SampledOp
from pipeline.seeds import noise_seed
from schemas.errors import SampleError
from schemas.sample import ImageArray, Instances, Sample

MAX_PIXELS: Final = 2**26
"""Of the larger image: 67 megapixels, 0.8 GB in float32."""


class SuperResolve(SampledOp):
    """More pixels, from a model."""

    kind: Literal["super_resolve"] = "super_resolve"
    model: str
    scale: Literal[2, 4] = 2
    then: Literal["keep", "restore"] = "keep"

    needs: ClassVar[Job | None] = "upscale"
    deep: ClassVar[bool] = True

    @property
    def labels(self) -> LabelContract:
        """Enlarged alike, or back where they were."""
        return "moved" if self.then == "keep" else "kept"

    def draw(self, sample: Sample, rng: Generator, peers: Peers) -> Draw | None:
        """The seed of the noise, for a model that has some; a network has no choice."""
        pixels = sample.height * sample.width * self.scale**2
        if pixels > MAX_PIXELS:
            raise SampleError(
                "too_large",
                f"{sample.width}x{sample.height} at scale {self.scale} is {pixels} pixels",
            )
        return {"noise": noise_seed(rng)} | self.said(sample, rng)

    def apply(
        self, samples: Sequence[Sample], draws: Sequence[Draw], models: Models, peers: Peers
    ) -> list[Outcome]:
        """Every sample enlarged, or enlarged and shrunk back."""
        upscaler = cast(Upscaler, models[self.model])
        jobs = [
            EnlargeJob(
                sample.image_hwc,
                draw["noise"],
                draw.get("prompt", ""),
                draw.get("negative_prompt", ""),
            )
            for sample, draw in zip(samples, draws, strict=True)
        ]
        made = upscaler.upscale(jobs, self.scale, self.steps, self.guidance)
        return [
            image if isinstance(image, SampleError) else self._finish(sample, image)
            for sample, image in zip(samples, made, strict=True)
        ]

    def _finish(self, sample: Sample, image_hwc: ImageArray) -> Sample:
        if self.then == "keep":
            return scaled(sample, image_hwc, self.scale)
        from pipeline.diffusion.resample import resized

        return replace(sample, image_hwc=resized(image_hwc, (sample.height, sample.width)))


def scaled(sample: Sample, image_hwc: ImageArray, factor: int) -> Sample:
    """An image `factor` times as large as the sample's, with its labels enlarged exactly."""
    instances, ids = sample.instances, sample.class_map_hw
    if instances is not None:
        masks = instances.masks_nhw
        if masks is not None:
            masks = masks.repeat(factor, 1).repeat(factor, 2)
        instances = Instances(instances.boxes_n4 * factor, instances.labels, masks)
    if ids is not None:
        ids = ids.repeat(factor, 0).repeat(factor, 1)
    return replace(sample, image_hwc=image_hwc, instances=instances, class_map_hw=ids)
