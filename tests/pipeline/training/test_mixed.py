"""Many images and few labels: labelled and unlabelled crops in one training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.training.denoising import DenoiserTask, make_batch
from pipeline.training.mixed import MixedCrops
from pipeline.training.session import Session
from schemas.recipe import Source
from tests.pipeline.training.test_training import SOURCE, config

UNLABELLED = Source(shards=Source.model_validate(SOURCE).shards, classes=("never looked at",))


def session(**changes: object) -> Session:
    settings = {"precision": "fp32", "unlabelled": UNLABELLED, "label_dropout": 0.0, **changes}
    return Session(config(**settings), "denoiser", torch.device("cpu"))


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_unlabelled_crops_are_evenly_spread_and_shown_without_labels(share: float) -> None:
    one = session(unlabelled_share=share, batch=8)
    assert isinstance(one.task, DenoiserTask)
    assert isinstance(one.crops, MixedCrops)
    batch = make_batch(one.crops, one.task, range(20), 20)
    told = batch.condition_bchw[:, -1].amax(dim=(1, 2)).numpy()
    assert told.sum() == round(20 * (1 - share)), "the last channel says that labels are given"
    assert not batch.condition_bchw[told == 0].any()
    bare = np.array([one.crops.crop(k)[0].instances is None for k in range(20)])
    np.testing.assert_array_equal(bare, told == 0)


def test_labelled_crops_are_those_of_a_training_without_unlabelled_ones() -> None:
    one, alone = session(unlabelled_share=0.5), session(unlabelled=None)
    labelled = next(k for k in range(4) if one.crops.crop(k)[0].instances is not None)
    np.testing.assert_array_equal(
        one.crops.crop(labelled)[0].image_hwc, alone.crops.crop(labelled)[0].image_hwc
    )
    assert np.isfinite(one.step().loss)


def test_a_training_without_unlabelled_images_is_called_as_before() -> None:
    assert config(unlabelled_share=0.5).digest() == config().digest()
    assert config(unlabelled=UNLABELLED).digest() != config().digest()
    stripped = config(unlabelled=UNLABELLED).model_dump()["unlabelled"]
    assert stripped["labels"] is stripped["classes"] is None
