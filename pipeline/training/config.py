"""The configuration of `noiseloom train`, one YAML file per model.

    data          scales, balance, flips, crop: what a crop is
    batch         crops per step, over all workers; accumulate: in so many pieces, one by one
    precision     auto measures a step of both before the first one, and keeps to the faster
    patience      early stopping, on the validation loss

`weighting` of a denoiser says how much each noise level counts. Its loss is the squared error of v,
made by way of the clean image: that error is (SNR + 1) times the clean image's, SNR = (α/σ)².
`none` counts v alike at all levels, so that fine texture, the business of the lowest levels, counts
most. `min_snr` (Hang et al. 2023, "Min-SNR", sec. 3.4) multiplies by min(SNR, γ) / (SNR + 1): the
clean image's error, by min(SNR, γ). The lowest levels then count no more than those of SNR = γ, and
the highest, where a guess is all there is, hardly at all: for strengths in between, and for large
shapes rather than grain.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.diffusion.tone import Curve
from schemas.recipe import Source, Tracking, digest_of
from schemas.spec import Spec

Kind = Literal["denoiser", "upscaler"]
Precision = Literal["auto", "fp32", "bf16"]
Scale = Annotated[float, Field(ge=0.05, le=1)]


class NetSpec(Spec):
    """The network; see `pipeline.diffusion.network.NetConfig`, which it becomes."""

    patch: Literal[1, 2, 4, 8] = 4
    widths: tuple[int, ...] = Field((64, 96, 144), min_length=2, max_length=6)
    blocks: int = Field(2, ge=1, le=4)

    @property
    def multiple(self) -> int:
        """Crops must be multiples of this."""
        return int(self.patch * 2 ** (len(self.widths) - 1))


class UpscalerNetSpec(Spec):
    """The network; see `pipeline.diffusion.upscaler.UpscalerNetConfig`, which it becomes."""

    width: int = Field(48, ge=4, le=512)
    blocks: int = Field(6, ge=1, le=64)


class TrainConfig(Spec):
    """Data and optimisation of one model. Sizes in pixels; `steps` are optimiser steps over `batch`
    crops.
    """

    data: Source
    validation: Source | None = None
    out: str
    init: str | None = Field(
        None, min_length=1, description="folder of a model of the same shape, to go on from"
    )
    licence: str = Field(min_length=1, description="of the data, repeated in the model card")
    seed: int = Field(0, ge=0)
    curve: Curve = "linear"
    crop: int = Field(128, ge=16, le=1024)
    scales: tuple[Scale, ...] = Field(
        (1.0,), min_length=1, max_length=16, description="of the image that a crop is cut from"
    )
    balance: float = Field(
        0.0, ge=0, le=1, description="of classes: pipeline.training.balance says how"
    )
    flips: bool = Field(
        True,
        description="mirror and turn crops by quarter turns: only where up and down mean nothing",
    )
    batch: int = Field(16, ge=1, le=65536)
    steps: int = Field(4000, ge=1)
    lr: float = Field(5e-4, gt=0, le=0.1)
    warmup: int = Field(200, ge=0)
    ema: float = Field(0.999, ge=0, lt=1)
    clip: float = Field(1.0, gt=0)
    precision: Precision = "auto"
    accumulate: int = Field(
        1, ge=1, description="micro-batches per step, where a whole batch does not fit"
    )
    patience: int | None = Field(
        None, ge=1, description="end after so many checkpoints without an improvement"
    )
    improvement: float = Field(0.0, ge=0, lt=1, description="the least that counts, a share")
    checkpoint_every: int = Field(250, ge=1)
    workers: int = Field(1, ge=1)
    threads: int = Field(1, ge=1, description="CPU threads per worker")
    gpus: float = Field(0, ge=0, description="per worker")
    tracking: Tracking = Tracking(experiment="noiseloom-train")

    def digest(self) -> str:
        """16 hex digits over what shapes the weights: not where they go, nor who computes them."""
        placing = {"out", "licence", "tracking", "workers", "threads", "gpus", "accumulate"}
        if self.patience is None:
            placing |= {"checkpoint_every", "improvement"}
        if getattr(self, "unlabelled", None) is None:
            placing |= {"unlabelled", "unlabelled_share"}
        return digest_of(self.model_dump(mode="json", exclude=placing))

    @model_validator(mode="after")
    def _fits(self) -> TrainConfig:
        if self.batch % (self.workers * self.accumulate):
            raise ValueError(
                f"batch: {self.batch} does not divide among {self.workers} workers"
                + (f" of {self.accumulate} micro-batches" if self.accumulate > 1 else "")
            )
        if self.patience is not None and self.validation is None:
            raise ValueError("patience: is early stopping, which needs data under `validation`")
        if self.balance and (self.data.labels is None or not self.data.classes):
            raise ValueError(
                "balance: is of classes; name them under `data.classes`, and the labels"
            )
        return self


class LatentSpec(Spec):
    """Work on the latents of an autoencoder; see `pipeline.diffusion.latent`."""

    vae: str = Field(min_length=1, description="folder of a diffusers AutoencoderKL")


class DenoiserTraining(TrainConfig):
    """The training of a denoiser."""

    net: NetSpec = NetSpec()
    shift: float = Field(2.0, gt=0, le=16)
    label_dropout: float = Field(
        0.15, ge=0, le=1, description="share of crops trained without labels"
    )
    unlabelled: Source | None = Field(
        None, description="more images; their labels are not looked at, if they have any"
    )
    unlabelled_share: float = Field(0.75, gt=0, lt=1, description="of the crops")
    weighting: Literal["none", "min_snr"] = "none"
    gamma: float = Field(5.0, gt=0, le=1000, description="of min_snr")
    latent: LatentSpec | None = None

    @field_validator("unlabelled")
    @classmethod
    def _labels_are_not_looked_at(cls, source: Source | None) -> Source | None:
        return source and source.model_copy(
            update=dict.fromkeys(("labels", "segmentation", "classes", "seg_classes"))
        )

    @model_validator(mode="after")
    def _fits_the_net(self) -> DenoiserTraining:
        if self.crop % self.net.multiple:
            raise ValueError(
                f"crop: {self.crop} is no multiple of {self.net.multiple}, patch · 2^(levels - 1)"
            )
        if self.latent is not None and self.net.patch != 1:
            raise ValueError(
                f"net.patch: is {self.net.patch}; with latent it must be 1: the autoencoder has "
                "made the image smaller"
            )
        if self.data.classes is None:
            raise ValueError(
                "data.classes: name the box classes in order; they become the label map's channels"
            )
        return self


class UpscalerTraining(TrainConfig):
    """The training of an upscaler, for both factors at once; it needs no labels."""

    net: UpscalerNetSpec = UpscalerNetSpec()
    curve: Literal["linear"] = "linear"

    @model_validator(mode="after")
    def _fits_the_factors(self) -> UpscalerTraining:
        if self.crop % 4:
            raise ValueError(f"crop: {self.crop} is not a multiple of 4, the largest factor")
        return self


CONFIGS: Final[dict[Kind, type[TrainConfig]]] = {
    "denoiser": DenoiserTraining,
    "upscaler": UpscalerTraining,
}
"""By the kind of model."""
