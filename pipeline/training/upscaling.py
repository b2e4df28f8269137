"""What an upscaler learns: crops, shrunk by the kernel of `resample`, back to what they were.

Even crops are enlarged two times and odd ones four times, so that any share of a batch holds both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.diffusion.config import UpscalerConfig
from pipeline.diffusion.folder import write_model
from pipeline.diffusion.native import NativeUpscaler
from pipeline.diffusion.resample import FACTORS, resized, resized_values
from pipeline.diffusion.upscaler import UpscalerNet, UpscalerNetConfig
from pipeline.training.config import TrainConfig, UpscalerTraining
from pipeline.training.gallery import Grid, upscaler_grid
from pipeline.training.mixed import AnyCrops
from pipeline.training.state import Validation, Weights
from schemas.sample import Sample

VALIDATION_CROPS, VALIDATION_BATCH = 64, 16
Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


class UpscalerTask:
    """The loss of each factor is measured in its target's deviation, where the image's is 1."""

    def __init__(self, config: TrainConfig, crops: AnyCrops) -> None:
        assert isinstance(config, UpscalerTraining)
        self.config = config
        self.residual_deviation = measure_residuals(crops)
        net = UpscalerNetConfig.model_validate(config.net.model_dump())
        self.model_config = UpscalerConfig(net=net)

    def validation(self, net: nn.Module, crops: AnyCrops, device: torch.device) -> Validation:
        """The loss over the first crops; there are no noise levels."""
        losses = [
            self.loss(net, crops, range(i, i + VALIDATION_BATCH), VALIDATION_CROPS, device)
            for i in range(0, VALIDATION_CROPS, VALIDATION_BATCH)
        ]
        return Validation(float(torch.stack(losses).mean()))

    def build(self) -> UpscalerNet:
        """The network, freshly initialised from torch's global generator."""
        return UpscalerNet(self.model_config.net)

    def save(self, folder: Path, weights: Weights) -> None:
        """Writes the model folder."""
        write_model(folder, self.model_config, weights)

    def picture(self, weights: Weights, samples: Sequence[Sample], device: str) -> Grid:
        """What the model with these weights makes of some samples."""
        net = self.build()
        net.load_state_dict(weights)
        return upscaler_grid(NativeUpscaler(self.model_config, net, "in training", device), samples)

    def loss(
        self,
        net: nn.Module,
        crops: AnyCrops,
        numbers: Sequence[int],
        total: int,
        device: torch.device,
    ) -> Tensor:
        """Mean squared error over these crops, 1 for a network that gives zeros. `total` is not
        needed: crops carry no noise level.
        """
        loss = torch.zeros((), device=device)
        for factor in FACTORS:
            mine = [k for k in numbers if FACTORS[k % len(FACTORS)] == factor]
            if not mine:
                continue
            pairs = [pair(crops, k, factor) for k in mine]
            small, target = (
                torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2).to(device)
                for part in zip(*pairs, strict=True)
            )
            error = (net(small, factor) - target) / self.residual_deviation[factor]
            loss = loss + torch.mean(error**2) * (len(mine) / len(numbers))
        return loss


def pair(crops: AnyCrops, k: int, factor: int) -> Pair:
    """(small image, what bicubic misses of the crop), (h, w, 3) in the tone of the whole image."""
    crop, tone, _ = crops.crop(k)
    hw = crop.height, crop.width
    small = tone.encode(resized(crop.image_hwc, (hw[0] // factor, hw[1] // factor)))
    return small, tone.encode(crop.image_hwc) - resized_values(small, hw)


def measure_residuals(crops: AnyCrops, samples: int = 64) -> dict[int, float]:
    """The standard deviation of the target per factor, over the first crops."""
    return {
        factor: float(
            np.sqrt(np.mean([np.mean(pair(crops, k, factor)[1] ** 2) for k in range(samples)]))
        )
        for factor in FACTORS
    }
