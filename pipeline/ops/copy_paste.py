"""`copy_paste`: instances of other samples of the chunk, pasted into this one (Ghiasi et al. 2021),
moved, scaled and turned within what the data has.

How many, which, and where: an object keeps its size to 10 % and stays within the sizes of its class
among images of the same magnification, it lies near where its class lies, overlaps its neighbours
as objects of its class do, and is turned freely only where its class is (`scene/layout.py`). A
place where anything would be hidden by more than 60 % is not taken; where labels are boxes alone,
the emptiest of the best places is, for they do not say what else is there. Only clean cuts are
pasted (`scene/cutout.py`): by the instance mask, by the class-id map in the box, or by an
outline derived from the box. Light: `scene/light.py`; edges and labels: `scene/paste.py`.

`harmonise` noises and denoises a rim of 4 pixels to both sides of the new borders to this strength,
with the new labels as condition; every other pixel is what was pasted or what was there. 0 needs
no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from numpy.random import Generator
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipeline.model import Job, Models, PaintJob
from pipeline.op import Draw, LabelContract, Outcome, Peers
from pipeline.ops.fields import Classes, Unit
from pipeline.ops.sampled import PaintOp
from pipeline.scene.cutout import cutout
from pipeline.scene.layout import Kin, Limits, Placed, place, scale_for, scene, turned_box
from pipeline.scene.light import alike, busy
from pipeline.scene.paste import Pasted, paste, seen_shape, shape_at
from pipeline.scene.recombine import LEAST_SEEN, is_shaped
from pipeline.scene.shape import Shape
from pipeline.seeds import noise_seed
from schemas.sample import Sample

MOST_HIDDEN: Final = 0.6
"""Share of an object that pasted ones may hide; of more, nobody could tell what it is."""
TRIES: Final = 24
"""Donors that are looked at for one object: with boxes alone one in ten has a clean outline."""
RESCALE: Final = (0.7, 1.4)
"""Beyond, a pasted object is visibly sharper or softer than its surroundings."""


def _range(value: object) -> object:
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


def _ordered(value: tuple[int, int]) -> tuple[int, int]:
    if value[0] > value[1]:
        raise ValueError(f"the range runs backwards; write [{value[1]}, {value[0]}]")
    return value


_Number = Annotated[int, Field(ge=1, le=64)]
Count = Annotated[tuple[_Number, _Number], BeforeValidator(_range), AfterValidator(_ordered)]


class CopyPaste(PaintOp):
    """Instances of other samples, pasted in; what they hide is labelled as far as it is seen."""

    kind: Literal["copy_paste"] = "copy_paste"
    model: str | None = Field(None, description="what harmonises; none where harmonise is 0")
    count: Count = Field((1, 4), description="objects to paste, if there is room")
    classes: Classes = Field(None, description="which classes may be pasted; null: all")
    harmonise: Unit = Field(0.35, description="strength along the borders; 0: off")

    needs: ClassVar[Job | None] = "denoise"
    native_steps: ClassVar[int] = 12
    native_guidance: ClassVar[float] = 1.0
    needs_peers: ClassVar[bool] = True

    @model_validator(mode="after")
    def _harmonising_has_a_model(self) -> CopyPaste:
        if self.harmonise > 0 and self.model is None:
            raise ValueError(
                "harmonise needs a model that can denoise; name one, or write harmonise: 0"
            )
        return self

    @property
    def labels(self) -> LabelContract:
        """Instances come, and may hide others in part."""
        return "edited"

    def draw(self, sample: Sample, rng: Generator, peers: Peers) -> Draw | None:
        """What is pasted where; None where no other sample has a clean object that fits here."""
        if sample.instances is None:
            return None
        kin = Kin.of(sample, {key: peer for key, peer in peers.items() if key != sample.key})
        limits = {label: of for label, of in kin.limits().items() if self._may(label)}
        if not limits:
            return None
        noise = noise_seed(rng)
        scene_of = _Scene(sample, peers)
        labels = [label for label, of in limits.items() for _ in of.objects]
        weights = np.concatenate([of.weights for of in limits.values()]) + 1e-12
        for _ in range(int(rng.integers(self.count[0], self.count[1] + 1))):
            label = labels[int(rng.choice(len(labels), p=weights / weights.sum()))]
            scene_of.add(limits[label], rng)
        if not scene_of.placed:
            return None
        draw: Draw = {"objects": [list(placed) for placed in scene_of.placed]}
        if not self.harmonise:
            return draw
        return draw | {"strength": self.harmonise, "noise": noise} | self.said(sample, rng)

    def _may(self, label: str) -> bool:
        return self.classes is None or label in self.classes

    def apply(
        self, samples: Sequence[Sample], draws: Sequence[Draw], models: Models, peers: Peers
    ) -> list[Outcome]:
        """Every sample with its objects pasted in."""
        made = [
            paste(sample, [Placed(*values) for values in draw["objects"]], peers)
            for sample, draw in zip(samples, draws, strict=True)
        ]
        if not self.harmonise:
            return [one.sample for one in made]
        return self._harmonised(made, draws, models)

    def _harmonised(
        self, made: Sequence[Pasted], draws: Sequence[Draw], models: Models
    ) -> list[Outcome]:
        jobs = [
            PaintJob(one.sample, one.sample, one.rim_hw, draw["strength"], draw["noise"])
            for one, draw in zip(made, draws, strict=True)
        ]
        images = self.painted(models, jobs, draws)
        return [
            image if not isinstance(image, np.ndarray) else replace(one.sample, image_hwc=image)
            for one, image in zip(made, images, strict=True)
        ]


class _Scene:
    """A sample while objects are placed in it."""

    def __init__(self, sample: Sample, peers: Peers) -> None:
        self._sample, self._peers = sample, peers
        self._shapes = [seen_shape(sample, i) for i in range(len(sample.objects))]
        self._areas = [shape.area for shape in self._shapes]
        self._boxes = list(sample.objects.boxes_n4)
        self.placed: list[Placed] = []

    def add(self, limits: Limits, rng: Generator) -> None:
        """One more object of a class, where a donor and a place are found."""
        drawn = (self._drawn(limits, rng) for _ in range(TRIES))
        found = next((each for each in drawn if each is not None), None)
        if found is None:
            return
        one, donor = found, self._peers[found.key]
        hw = self._sample.height, self._sample.width

        def cost(x: float, y: float) -> float:
            whole = shape_at(one._replace(x=x, y=y), donor)
            shape = whole.inside(*hw)
            if not self._leaves_enough(shape, whole.area):
                return np.inf
            return 0.0 if is_shaped(self._sample) else busy(self._sample, shape)

        sides = turned_box(donor.objects.boxes_n4[one.i], one.scale, one.angle)
        at = place(limits, sides, hw, np.array(self._boxes).reshape(-1, 4), rng, cost)
        if at is None:
            return
        one = one._replace(x=at[0], y=at[1])
        shape = shape_at(one, donor).inside(*hw)
        self._shapes = [other.without(shape) for other in self._shapes] + [shape]
        self._areas.append(shape.area)
        self._boxes.append(shape.box)
        self.placed.append(one)

    def _drawn(self, limits: Limits, rng: Generator) -> Placed | None:
        """A donor with its scale, turn and mirror; None where it would not look right here."""
        key, i = limits.donor(rng)
        donor, label = self._peers[key], self._peers[key].objects.labels[i]
        size = float(scene(donor).size_n[i])
        scale = scale_for(size, limits, rng)
        angle, mirror = float(rng.uniform(-limits.turn, limits.turn)), bool(rng.integers(2))
        fits = RESCALE[0] <= scale <= RESCALE[1] and alike(self._sample, donor, label)
        usable = fits and cutout(donor, i).clean
        return (
            Placed(key, i, 0.0, 0.0, round(scale, 3), round(angle, 1), mirror) if usable else None
        )

    def _leaves_enough(self, shape: Shape, whole: int) -> bool:
        if shape.area < max(LEAST_SEEN, 0.3 * whole):
            return False
        for other, area in zip(self._shapes, self._areas, strict=True):
            if other.area - int(other.shared(shape).sum()) < max(1, (1 - MOST_HIDDEN) * area):
                return False
        return True
