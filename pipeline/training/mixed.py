"""Labelled and unlabelled images in one training: many images and few labels is the usual state.

A crop of an unlabelled image is shown with the condition "no labels", as `label_dropout` shows
labelled ones: what images look like is learnt of all of them, what labels mean of the labelled few.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from numpy.random import Generator

from pipeline.diffusion.tone import Tone
from pipeline.training.config import DenoiserTraining, TrainConfig
from pipeline.training.crops import CropSet
from schemas.recipe import Source
from schemas.sample import Sample


@dataclass(frozen=True)
class MixedCrops:
    """Crops of both, evenly spread: of any n in a row, `share` · n are unlabelled, but for one."""

    labelled: CropSet
    unlabelled: CropSet
    share: float

    def __len__(self) -> int:
        return len(self.labelled) + len(self.unlabelled)

    def __str__(self) -> str:
        return f"{self.labelled}, and {len(self.unlabelled)} unlabelled"

    def mistakes(self) -> Iterator[str | None]:
        """Every image decoded: what is wrong with it, or None."""
        yield from self.labelled.mistakes()
        yield from self.unlabelled.mistakes()

    def crop(self, k: int) -> tuple[Sample, Tone, Generator]:
        """Crop number k; see `CropSet.crop`."""
        unlabelled = math.floor((k + 1) * self.share) > math.floor(k * self.share)
        return (self.unlabelled if unlabelled else self.labelled).crop(k)


AnyCrops = CropSet | MixedCrops


def training_crops(config: TrainConfig) -> AnyCrops:
    """What this training learns from. SourceError where there is nothing, or it is damaged."""
    labelled = _crops(config, config.data, config.balance)
    if not isinstance(config, DenoiserTraining) or config.unlabelled is None:
        return labelled
    return MixedCrops(labelled, _crops(config, config.unlabelled, 0), config.unlabelled_share)


def _crops(config: TrainConfig, source: Source, balance: float) -> CropSet:
    return CropSet(
        source, config.crop, config.flips, config.curve, config.seed, config.scales, balance
    )
