"""`synthesize`: a new layout, and a picture made for it from pure noise by the label-conditioned
denoiser: a new training pair, whose labels are what the picture was made from.

`recombined` puts instances of the chunk together anew, by the chunk's own statistics of count,
size, overlap and place (`scene/layout.py`); `own` makes another picture for the sample's own
labels; `empty` one without objects. `guidance: 0` asks for nothing: with `layout: empty` that is
plain unconditional generation, whose labels nobody knows: the sample says that it has none (no
boxes, a class-id map of "ignore").

The picture has the sample's size. Its brightness and contrast are those of a sample of the same
statistics, which the draw names as `tone`, at the new layout (`scene/palette.py`). Of the sample
itself nothing remains; PSNR and SSIM to it are not measured.

Guidance, as seen on both sample datasets: at 1 a denoiser that was trained on incomplete labels
makes unlabelled objects, too (red cells at the border of a smear); at 2 it makes those that the
layout asks for, and sharper edges; from 4 on colours saturate. 24 steps look like 50; below 12
textures blur. A denoiser that saw no image without objects makes faint ghosts of them for an empty
layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field, model_validator

from pipeline.model import Job, Models, PaintJob
from pipeline.op import Draw, LabelContract, Outcome, Peers
from pipeline.ops.sampled import PaintOp
from pipeline.scene.layout import Kin, Placed
from pipeline.scene.palette import palette
from pipeline.scene.recombine import draw_layout, with_layout, without_objects
from pipeline.seeds import noise_seed
from schemas.sample import IGNORE_ID, Sample


class Synthesize(PaintOp):
    """A new picture from noise, for a new layout, the sample's own, or none."""

    kind: Literal["synthesize"] = "synthesize"
    model: str
    layout: Literal["recombined", "own", "empty"] = Field(
        "recombined", description="the chunk's instances put together anew; the sample's; nothing"
    )

    needs: ClassVar[Job | None] = "synthesize"
    native_steps: ClassVar[int] = 24
    native_guidance: ClassVar[float] = 2.0
    needs_peers: ClassVar[bool] = True
    new_picture: ClassVar[bool] = True

    @model_validator(mode="after")
    def _labels_are_asked_for(self) -> Synthesize:
        if self.guidance == 0 and self.layout != "empty":
            raise ValueError(
                "guidance: 0 ignores the labels, so that they would be wrong; "
                "give more, or set layout: empty"
            )
        return self

    @property
    def labels(self) -> LabelContract:
        """All instances are others, but for the sample's own layout."""
        return "kept" if self.layout == "own" else "edited"

    def draw(self, sample: Sample, rng: Generator, peers: Peers) -> Draw | None:
        """The layout, the sample that lends its tone, and the noise; None where no peer has an
        instance to recombine.
        """
        draw: Draw = {"noise": noise_seed(rng)}
        kin = Kin.of(sample, peers)
        if self.layout == "recombined":
            if sample.instances is None or not kin.samples:
                return None
            layout = draw_layout(sample, kin, rng)
            if not layout:
                return None
            draw["objects"] = [list(placed) for placed in layout]
        draw["tone"] = kin.one(rng).key if kin.samples else sample.key
        return draw | self.said(sample, rng)

    def apply(
        self, samples: Sequence[Sample], draws: Sequence[Draw], models: Models, peers: Peers
    ) -> list[Outcome]:
        """Every picture, made for its labels."""
        pairs = list(zip(samples, draws, strict=True))
        wanted = [self._wanted(sample, draw, peers) for sample, draw in pairs]
        free = [np.ones((one.height, one.width), bool) for one in wanted]
        jobs = [
            PaintJob(
                one, one, mask, 1.0, draw["noise"], grain_hwc=_lender(sample, draw, peers).image_hwc
            )
            for (sample, draw), one, mask in zip(pairs, wanted, free, strict=True)
        ]
        made = self.painted(models, jobs, draws)
        return [
            image
            if not isinstance(image, np.ndarray)
            else self._said(replace(one, image_hwc=image))
            for one, image in zip(wanted, made, strict=True)
        ]

    def _wanted(self, sample: Sample, draw: Draw, peers: Peers) -> Sample:
        """The labels, over a picture that has nothing but the tone."""
        tone = _lender(sample, draw, peers)
        if self.layout == "recombined":
            layout = [Placed(*values) for values in draw["objects"]]
            sample = with_layout(sample, layout, peers)
        elif self.layout == "empty":
            sample = without_objects(sample)
        if self.guidance == 0:  # nobody knows what will be where: the tone as it is
            kinds = [replace(one, instances=None, class_map_hw=None) for one in (sample, tone)]
            return replace(sample, image_hwc=palette(*kinds))
        return replace(sample, image_hwc=palette(sample, tone))

    def _said(self, sample: Sample) -> Sample:
        """Of a picture that was made without labels, none are claimed."""
        if self.guidance != 0:
            return sample
        ids = sample.class_map_hw
        unknown = None if ids is None else np.full_like(ids, IGNORE_ID)
        return replace(sample, instances=None, class_map_hw=unknown)


def _lender(sample: Sample, draw: Draw, peers: Peers) -> Sample:
    """Whose tone and grain the picture gets."""
    return peers.get(draw["tone"], sample)
