"""`restyle`: the look of another image of the chunk on this image's layout; labels stay where they
are.

The image gets the donor's ground, contrast, hue and light (`scene/look.py`), is noised to a
strength, and denoised with its labels as condition. What the forward process keeps of an image is
its coarse structure (SDEdit, Meng et al. 2022; ILVR, Choi et al. 2021, conditions on just that): so
the donor's look arrives, and what does not survive such a change by arithmetic, stretched grain and
steps between gray levels, is noise that the denoiser takes away and makes anew in the donor's tone.

`donor`: of `CANDIDATES` other samples of the chunk the one that looks most different. `protect` and
`classes` are those of `noise_denoise`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final, Literal, cast

import numpy as np
from numpy.random import Generator
from pydantic import field_validator

from pipeline.labels.regions import Protect, free_region, of_classes
from pipeline.model import Job, Models, Painter, PaintJob
from pipeline.op import Draw, LabelContract, Outcome, Peers
from pipeline.ops.fields import Classes, Range, free_classes, uniform
from pipeline.ops.sampled import PaintOp
from pipeline.scene.look import look_of, restyled
from pipeline.seeds import noise_seed
from schemas.errors import SampleError
from schemas.sample import BoolArray, Sample

if TYPE_CHECKING:
    from pipeline.diffusion.tone import Curve

CANDIDATES: Final = 3
"""Of one, half of the donors look the same; of all, a chunk's oddest image would be everybody's
donor."""


class Restyle(PaintOp):
    """The donor's look, this image's layout and labels."""

    kind: Literal["restyle"] = "restyle"
    model: str
    strength: Range = (0.3, 0.5)
    protect: Protect = "none"
    classes: Classes = None

    _one_of_the_two = field_validator("classes")(free_classes)

    needs: ClassVar[Job | None] = "denoise"
    native_steps: ClassVar[int] = 8
    native_guidance: ClassVar[float] = 1.5
    needs_peers: ClassVar[bool] = True

    @property
    def labels(self) -> LabelContract:
        """Geometry does not move."""
        return "kept"

    def draw(self, sample: Sample, rng: Generator, peers: Peers) -> Draw | None:
        """A strength, a seed, and the donor's key; None where the sample is alone."""
        of_classes(sample, self.classes)
        draw: Draw = {"strength": uniform(rng, self.strength), "noise": noise_seed(rng)}
        others = [key for key, peer in peers.items() if key != sample.key and _rgb(peer)]
        if not others:
            return None
        picked = [others[int(i)] for i in rng.permutation(len(others))[:CANDIDATES]]
        donor = _most_different(sample, picked, peers)
        return draw | {"donor": donor} | self.said(sample, rng)

    def apply(
        self, samples: Sequence[Sample], draws: Sequence[Draw], models: Models, peers: Peers
    ) -> list[Outcome]:
        """Every image in its donor's look where it may change."""
        curve = cast(Painter, models[self.model]).curve
        outcomes: list[Outcome] = [SampleError("no_donor", "it is not in this chunk")] * len(
            samples
        )
        jobs: dict[int, PaintJob] = {}
        for i, (sample, draw) in enumerate(zip(samples, draws, strict=True)):
            donor = peers.get(draw["donor"])
            if donor is not None and _rgb(donor):
                free = free_region(sample, self.protect, self.classes)
                start = _with_look(sample, donor, free, curve)
                jobs[i] = PaintJob(
                    start, start, free, draw["strength"], draw["noise"], grain_hwc=donor.image_hwc
                )
        made = self.painted(models, list(jobs.values()), [draws[i] for i in jobs])
        for i, image in zip(jobs, made, strict=True):
            outcomes[i] = (
                replace(samples[i], image_hwc=image) if isinstance(image, np.ndarray) else image
            )
        return outcomes


def _rgb(sample: Sample) -> bool:
    return sample.image_hwc.dtype == np.uint8


def _most_different(sample: Sample, keys: Sequence[str], peers: Peers) -> str:
    """By looks after the square root, which is how far apart dim images are to the eye."""
    own = look_of(sample, "sqrt")
    distances = [own.distance(look_of(peers[key], "sqrt")) for key in keys]
    return keys[int(np.argmax(distances))]


def _with_look(sample: Sample, donor: Sample, free: BoolArray, curve: Curve) -> Sample:
    """The sample as it goes into the noise: in its donor's look where it may change."""
    image = np.where(free[:, :, None], restyled(sample, donor, curve), sample.image_hwc)
    return replace(sample, image_hwc=image)
