"""What an upscaler learns: pairs that bicubic explains but for the target."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.diffusion.resample import FACTORS, resized_values
from pipeline.training.config import UpscalerTraining
from pipeline.training.crops import CropSet
from pipeline.training.state import TrainState
from pipeline.training.upscaling import UpscalerTask, measure_residuals, pair
from schemas.recipe import Source

SOURCE = Source(shards=("data/nuclei/train-000000.tar",), labels=None, classes=())
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def crops() -> CropSet:
    return CropSet(SOURCE, 64, True, "linear", 0)


@pytest.fixture(scope="module")
def task(crops: CropSet) -> UpscalerTask:
    config = UpscalerTraining.model_validate(
        {"data": SOURCE, "out": "unused", "licence": "CC0", "net": {"width": 8, "blocks": 1}}
    )
    return UpscalerTask(config, crops)


class Zeros(nn.Module):
    def forward(self, small: torch.Tensor, factor: int) -> torch.Tensor:
        b, c, h, w = small.shape
        return small.new_zeros((b, c, h * factor, w * factor))


@pytest.mark.parametrize("factor", FACTORS)
def test_bicubic_and_the_target_give_the_crop_back(crops: CropSet, factor: int) -> None:
    small, target = pair(crops, 3, factor)
    crop, tone, _ = crops.crop(3)
    assert small.shape == (64 // factor, 64 // factor, 3)
    whole = resized_values(small, (64, 64)) + target
    assert (tone.decode(whole) == crop.image_hwc).all()


def test_more_is_missing_at_four_times(crops: CropSet) -> None:
    missing = measure_residuals(crops, 16)
    assert 0 < missing[2] < missing[4] < 1


def test_a_network_that_gives_zeros_has_a_loss_of_about_one(
    crops: CropSet, task: UpscalerTask
) -> None:
    assert 0.3 < float(task.loss(Zeros(), crops, range(64), 64, CPU)) < 3


def test_shares_of_a_batch_average_to_the_whole(crops: CropSet, task: UpscalerTask) -> None:
    whole = float(task.loss(Zeros(), crops, range(8), 8, CPU))
    shares = [float(task.loss(Zeros(), crops, range(i, i + 4), 8, CPU)) for i in (0, 4)]
    np.testing.assert_allclose(np.mean(shares), whole, rtol=1e-5)


def test_a_few_steps_are_better_than_bicubic(crops: CropSet, task: UpscalerTask) -> None:
    torch.manual_seed(0)
    config = task.config.model_copy(update={"steps": 30, "warmup": 2, "lr": 3e-3, "ema": 0.5})
    state = TrainState(task.build(), config)
    for step in range(30):
        state.update([task.loss(state.net, crops, range(step * 8, step * 8 + 8), 8, CPU)])
    with torch.inference_mode():
        learnt = float(task.loss(state.average, crops, range(10**6, 10**6 + 32), 32, CPU))
        bicubic = float(task.loss(Zeros(), crops, range(10**6, 10**6 + 32), 32, CPU))
    assert learnt < 0.95 * bicubic
