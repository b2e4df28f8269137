"""The configuration of `noiseloom train detector`, one YAML file per detector."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.diffusion.tone import Curve
from schemas.recipe import Source
from schemas.spec import Spec


class Schooling(Spec):
    """How a detector is trained. `crop`: pixels of a side, as the network sees them."""

    steps: int = Field(1000, ge=1)
    batch: int = Field(8, ge=1, le=4096)
    crop: int = Field(128, ge=32, le=2048)
    lr: float = Field(2e-3, gt=0, le=0.1)
    warmup: int = Field(50, ge=0)
    weight_decay: float = Field(0.02, ge=0)
    clip: float = Field(10.0, gt=0)
    flips: bool = Field(
        True,
        description="mirror and turn crops by quarter turns: only where up and down mean nothing",
    )
    seed: int = Field(0, ge=0)


class DetectorNet(Spec):
    """What the network sees; see `pipeline.detection.network.DetectorConfig`, which it becomes."""

    scale: float = Field(1.0, gt=0, le=4, description="images are looked at so much larger")
    stride: Literal[4, 8, 16] = Field(8, description="of the features; about a third of the least")
    curve: Curve = "linear"


class DetectorTraining(Spec):
    """Data, network and schooling of one detector, which learns `data.classes`."""

    data: Source
    validation: Source | None = Field(
        None, description="scores for the card, and the thresholds; without it: the training data"
    )
    out: str
    licence: str = Field(min_length=1, description="of the data, repeated in the model card")
    net: DetectorNet = DetectorNet()
    schooling: Schooling = Schooling()
    threads: int = Field(1, ge=1, description="CPU threads; more than one change the last bits")

    @model_validator(mode="after")
    def _named(self) -> DetectorTraining:
        if not self.data.classes:
            raise ValueError("data.classes: name the classes that the detector shall find")
        return self
