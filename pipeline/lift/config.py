"""The configuration of `noiseloom evaluate`, one YAML file per question.

An arm is what a student is trained on. All have the same labelled images, steps and batch size:

    real:        {}                                   the labelled images, and nothing else
    classic:     {transforms: [...]}                  made on the fly, of every image that is shown
    copy_paste:  {over: classic, ops: [{kind: copy_paste}], copies: 8}
    woven:       {over: classic, recipe: bccd.yaml}   copies of the labelled images, by this recipe
    last_night:  {over: classic, sink: out/bccd, run: bccd-1f0c}   what a published run made of them

`share` is that of augmented images in each batch, from the first step to the last. Copies are made
of the labelled images alone, so that an arm knows no more images than the others.

`denoisers` are models, too, that each seed trains for itself on its own labelled images:

    denoisers: {few: {init: out/unlabelled, steps: 400, unlabelled: {shards: cells-*.tar}}}

with the fields of `noiseloom train denoiser`, but for those that say what is learnt and where it
goes.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from pipeline.diffusion.tone import Curve
from pipeline.gates import AnyGate
from pipeline.ops import AnyOp
from pipeline.training.config import DenoiserTraining
from pipeline.transforms import Named, check
from schemas.models import AnyModel
from schemas.recipe import Source, Tracking, digest_of
from schemas.spec import Spec

GIVEN: Final = ("data", "out", "licence", "validation", "patience")
"""Of a denoiser's training: what a lift test says itself, or has none of."""


def _pair(value: object) -> object:
    return (value, value) if isinstance(value, int | float) else value


Unit = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[tuple[Unit, Unit], BeforeValidator(_pair)]
ArmName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]


class Arm(Spec):
    """What the student sees besides the labelled images."""

    over: str | None = Field(None, description="an arm whose transforms this one has, too")
    transforms: tuple[Annotated[Named, AfterValidator(check)], ...] = ()
    ops: tuple[AnyOp, ...] = ()
    gates: tuple[AnyGate, ...] = ()
    copies: int = Field(8, ge=1, le=1000, description="of each labelled image, by `ops`")
    recipe: str | None = Field(None, min_length=1, description="a recipe's file")
    sink: str | None = Field(None, min_length=1)
    run: str | None = Field(None, min_length=1, description="a published run of the sink")
    share: Share = (0.5, 0.5)

    @model_validator(mode="after")
    def _one_origin(self) -> Arm:
        if (self.sink is None) != (self.run is None):
            raise ValueError("sink, run: a published run is named by both")
        if sum([bool(self.ops), self.recipe is not None, self.run is not None]) > 1:
            raise ValueError("ops, recipe, run: give one; an arm has one kind of copies")
        if self.gates and not self.ops:
            raise ValueError("gates: judge what `ops` made; a recipe and a run have their own")
        if self.over is not None and self.transforms:
            raise ValueError("over, transforms: give one; `over` takes those of the other arm")
        return self

    @property
    def augmented(self) -> bool:
        """Whether there are copies among its images."""
        return bool(self.ops) or self.recipe is not None or self.run is not None


class UNetStudent(Spec):
    """A small U-Net for class-id maps. `tone`: brightness per image normalised, or left alone."""

    kind: Literal["unet"] = "unet"
    widths: tuple[Annotated[int, Field(ge=4, le=1024)], ...] = Field(
        (8, 16, 32, 64), min_length=2, max_length=6
    )
    scale: float = Field(1.0, gt=0, le=4)
    tone: Curve | None = None


class FcosStudent(Spec):
    """The small detector of `noiseloom train detector`."""

    kind: Literal["fcos"] = "fcos"
    widths: tuple[Annotated[int, Field(ge=4, le=1024)], ...] = Field(
        (32, 48, 96, 128, 128), min_length=3, max_length=6
    )
    stride: Literal[4, 8, 16] = 8
    scale: float = Field(1.0, gt=0, le=4)
    tone: Curve | None = "linear"


class TorchvisionStudent(Spec):
    """Any builder of torchvision's detection or segmentation models, from scratch."""

    kind: Literal["torchvision"] = "torchvision"
    task: Literal["detect", "segment"]
    builder: str = Field(min_length=1, description="fasterrcnn_resnet50_fpn, fcn_resnet50, ...")
    scale: float = Field(1.0, gt=0, le=4)
    tone: Curve | None = None


AnyStudent = Annotated[UNetStudent | FcosStudent | TorchvisionStudent, Field(discriminator="kind")]


class Schooling(Spec):
    """How a student is trained, the same in every arm. `crop`: pixels of a side, as seen."""

    steps: int = Field(300, ge=1)
    batch: int = Field(8, ge=1, le=4096)
    crop: int = Field(128, ge=16, le=2048)
    lr: float = Field(2e-3, gt=0, le=0.1)
    warmup: int = Field(20, ge=0)
    weight_decay: float = Field(0.02, ge=0)
    clip: float = Field(10.0, gt=0)


class LiftConfig(Spec):
    """A whole lift test."""

    data: Source
    validation: Source
    leave_out: tuple[str, ...] = Field(
        (), description="keys of validation images that are not judged on: leaks, by name"
    )
    out: str = Field(min_length=1)
    images: int = Field(ge=1, description="labelled images, drawn anew for each seed")
    seeds: int = Field(5, ge=2, le=1000, description="trainings of each arm; below 5 shows little")
    seed: int = Field(0, ge=0, lt=2**31, description="the first of them")
    student: AnyStudent
    schooling: Schooling = Schooling()
    arms: dict[ArmName, Arm] = Field(min_length=2)
    baseline: str
    scored: tuple[str, ...] | None = Field(
        None, min_length=1, description="classes whose mean decides; all of them if left out"
    )
    models: dict[str, AnyModel] = Field(default_factory=dict, description="of the arms' `ops`")
    denoisers: dict[str, DenoiserTraining] = Field(
        default_factory=dict, description="models that each seed trains on its labelled images"
    )
    resamples: int = Field(1000, ge=100, le=100_000, description="of the bootstrap")
    gpus: float = Field(0, ge=0, description="of each training")
    tracking: Tracking = Tracking(experiment="noiseloom-lift")

    @model_validator(mode="before")
    @classmethod
    def _denoisers_learn_what_is_drawn(cls, values: object) -> object:
        """Theirs is the data of the test; more exactly, the labelled images of a seed."""
        if not isinstance(values, dict) or not isinstance(values.get("denoisers"), dict):
            return values
        given = {"data": values.get("data"), "out": values.get("out"), "licence": "of the data"}
        full = {}
        for name, training in values["denoisers"].items():
            if not isinstance(training, dict):
                return values
            own = [one for one in GIVEN if training.get(one, given.get(one)) != given.get(one)]
            if own:
                raise ValueError(f"denoisers.{name}.{own[0]}: is the test's; leave it out")
            full[name] = training | given
        return values | {"denoisers": full}

    @model_validator(mode="after")
    def _fits(self) -> LiftConfig:
        if self.baseline not in self.arms:
            raise ValueError(
                f"baseline: {self.baseline!r} is none of the arms {_listed(self.arms)}"
            )
        for name, arm in self.arms.items():
            if arm.over is not None and (arm.over not in self.arms or self.arms[arm.over].over):
                raise ValueError(f"arms.{name}.over: name an arm with transforms of its own")
            known = (None, *self.models, *self.denoisers)
            missing = [op.model_name for op in arm.ops if op.model_name not in known]
            if missing:
                raise ValueError(f"arms.{name}.ops: there is no model {missing[0]!r} in `models`")
        both = sorted(set(self.models) & set(self.denoisers))
        if both:
            raise ValueError(f"models, denoisers: {both[0]!r} is in both")
        if self.task == "segment" and not (self.data.segmentation and self.data.seg_classes):
            raise ValueError("data: a segmenter needs `segmentation` and `seg_classes`")
        if self.task == "detect" and not self.data.classes:
            raise ValueError("data: a detector needs `classes`")
        unknown = [name for name in self.scored or () if name not in self.classes]
        if unknown:
            raise ValueError(f"scored: {unknown[0]!r} is none of {_listed(self.classes)}")
        return self

    @property
    def task(self) -> Literal["detect", "segment"]:
        """What the student learns."""
        if isinstance(self.student, TorchvisionStudent):
            return self.student.task
        return "segment" if isinstance(self.student, UNetStudent) else "detect"

    @property
    def classes(self) -> tuple[str, ...]:
        """What it learns to tell apart."""
        named = self.data.classes if self.task == "detect" else self.data.seg_classes
        return named or ()

    @property
    def deciding(self) -> tuple[str, ...]:
        """The classes whose mean decides."""
        return self.scored or self.classes

    @property
    def metric(self) -> str:
        """What the student is judged by."""
        return "mAP@[.5:.95]" if self.task == "detect" else "mIoU"

    def transforms_of(self, name: str) -> tuple[Named, ...]:
        """The transforms that an arm shows its images through, its own or another's."""
        arm = self.arms[name]
        return arm.transforms if arm.over is None else self.arms[arm.over].transforms

    def digest(self, contents: object) -> str:
        """16 hex digits over all that shapes the result; `contents`: of the data and models."""
        shape = self.model_dump(mode="json", exclude={"out", "tracking", "gpus"})
        return digest_of([shape, contents])


def _listed(names: object) -> str:
    return ", ".join(repr(name) for name in names)  # type: ignore[attr-defined]
