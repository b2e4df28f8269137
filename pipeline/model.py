"""What a model is to the ops and gates: a few jobs, each a protocol, whoever made the network.

    Painter     "denoise"      noise on what is there, to a strength, and off again
                "inpaint"      a hole filled from what is around it
                "redraw"       objects painted where the labels say that they are
                "synthesize"   a whole picture from labels
    Upscaler    "upscale"      the image 2 or 4 times as large
    Detector    "detect"       objects found in an image
    Segmenter   "segment"      a class id for every pixel

A `ModelCard` tells without loading anything which of them a model can do; `pipeline/models.py`
makes cards and models out of what a recipe names, by the adapters in `pipeline/adapters`. What an
op promises is kept whatever network is behind it: a `Painter` puts every pixel outside a job's mask
back, bit for bit, whatever the network returned there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

from schemas.errors import SampleError
from schemas.sample import BoolArray, ByteArray, FloatArray, ImageArray, Sample

if TYPE_CHECKING:
    from pipeline.diffusion.tone import Curve

Job = Literal["denoise", "inpaint", "redraw", "synthesize", "upscale", "detect", "segment"]

Made = ImageArray | SampleError


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model without loading it.

    `digest`: of its content, or of the commits that pin it. `classes` and `seg_classes`: what it
    knows, by the dataset's names; empty where it does not ask. `scales`: of an upscaler, None where
    it takes any. `prompted`: whether it listens to text. `about`: what it is, in a few words.
    """

    digest: str
    does: frozenset[Job]
    classes: tuple[str, ...] = ()
    seg_classes: tuple[str, ...] = ()
    scales: frozenset[int] | None = None
    prompted: bool = False
    about: str = ""


class Model(Protocol):
    """What an op or a gate loads once per actor."""

    @property
    def digest(self) -> str:
        """Of its content; part of every row that it made."""


Models = Mapping[str, Model]


@dataclass(frozen=True, eq=False)
class PaintJob:
    """Repaint `sample` where `free_hw` is True, from the image and to the labels of `wanted`.

    `strength` (0 to 1) is how far into the noise, `noise` the seed of it. `hole`: nothing of what
    the sample shows there may come out. `grain_hwc`: an image whose grain is wanted, if it is
    another one. The prompts are for models that listen to text.
    """

    sample: Sample
    wanted: Sample
    free_hw: BoolArray
    strength: float
    noise: int
    hole: bool = False
    grain_hwc: ImageArray | None = None
    prompt: str = ""
    negative_prompt: str = ""


@runtime_checkable
class Painter(Model, Protocol):
    """Makes pixels anew: noises them to a strength and denoises them again, or fills a hole.

    `usual_steps` and `usual_guidance` are what it was made for, None where that depends on the op.
    `curve`: how brightness goes into it ("sqrt" for fluorescence).
    """

    @property
    def usual_steps(self) -> int | None:
        """Reverse steps, where a recipe names none."""

    @property
    def usual_guidance(self) -> float | None:
        """Guidance, where a recipe names none."""

    @property
    def curve(self) -> Curve:
        """How brightness goes into it."""

    def repaint(self, jobs: Sequence[PaintJob], steps: int, guidance: float) -> list[Made]:
        """One image or one SampleError per job, in order. Outside the job's mask every pixel is the
        sample's; an image has its sample's size and kind. The same job gives the same image,
        whatever the others are.
        """


@dataclass(frozen=True, eq=False)
class EnlargeJob:
    """One image to enlarge; seed and prompts are for upscalers that are diffusion models."""

    image_hwc: ImageArray
    noise: int = 0
    prompt: str = ""
    negative_prompt: str = ""


@runtime_checkable
class Upscaler(Model, Protocol):
    """Makes an image larger."""

    def upscale(
        self,
        jobs: Sequence[EnlargeJob],
        factor: int,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> list[Made]:
        """Each image exactly `factor` times as wide and high, or a SampleError in its place.

        Steps and guidance, None for the model's own, are for upscalers that are diffusion models.
        """


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found in one image, best first. Boxes xyxy, pixels of that image, half-open."""

    boxes_n4: FloatArray
    scores_n: FloatArray
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, keep: Sequence[int]) -> Detections:
        """Those at these positions, in this order."""
        at = np.array(keep, np.intp)
        return Detections(self.boxes_n4[at], self.scores_n[at], tuple(self.labels[i] for i in keep))


@runtime_checkable
class Detector(Model, Protocol):
    """Finds objects."""

    def sure(self, images: Sequence[ByteArray]) -> list[Detections]:
        """What counts as found in each image, by the dataset's class names: from the threshold of
        its class on.
        """


@dataclass(frozen=True, eq=False)
class ClassMap:
    """Which class a segmenter sees at every pixel: `ids_hw` are positions in `names`, IGNORE_ID
    where it sees something that the dataset does not know.
    """

    ids_hw: ByteArray
    names: tuple[str, ...] = field(default=())


@runtime_checkable
class Segmenter(Model, Protocol):
    """Tells a class for every pixel."""

    def segment(self, images: Sequence[ByteArray]) -> list[ClassMap]:
        """The class of every pixel of each image, at the image's own size."""
