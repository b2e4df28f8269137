"""Students that give every pixel a class: our U-Net, and torchvision's builders by name."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.diffusion.tone import Curve
from pipeline.lift.evidence import Overlaps, overlaps
from pipeline.lift.feed import Crop, resized, tone_of
from schemas.sample import IGNORE_ID, ByteArray, Sample


class SegmenterLearner:
    """Cross entropy and soft Dice over labelled pixels: by entropy alone, a student of few steps
    answers background everywhere. `scale`: images are looked at so many times as large.
    """

    def __init__(
        self, net: nn.Module, classes: int, scale: float, tone: Curve | None, device: str
    ) -> None:
        self.net = net.to(device)
        self._classes, self._scale, self._tone = classes, scale, tone
        self._device = device

    def loss(self, crops: Sequence[Crop]) -> Tensor:
        """Mean over labelled pixels; zero where a batch has none."""
        x = torch.stack([torch.from_numpy(c.values_hwc).permute(2, 0, 1) for c in crops])
        maps = np.stack([_map_of(c.sample) for c in crops]).astype(np.int64)
        maps[maps >= self._classes] = IGNORE_ID
        truth = torch.from_numpy(maps).to(self._device)
        scores = self.net(x.to(self._device))
        known = truth != IGNORE_ID
        total = functional.cross_entropy(scores, truth, ignore_index=IGNORE_ID, reduction="sum")
        return total / known.sum().clamp(min=1) + _dice(scores, truth, known)

    @torch.inference_mode()
    def answers(self, samples: Sequence[Sample]) -> Overlaps:
        """The best class of every pixel, at the image's own size."""
        self.net.eval()
        return overlaps(samples, [self._map(sample) for sample in samples], self._classes)

    def _map(self, sample: Sample) -> ByteArray:
        hw = [max(1, round(side * self._scale)) for side in (sample.height, sample.width)]
        tone = tone_of(sample.rgb_hwc, self._tone)
        seen = tone.encode(resized(sample, hw[0], hw[1]).rgb_hwc)
        x = torch.from_numpy(seen).permute(2, 0, 1)[None].to(self._device)
        ids = self.net(x)[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
        if ids.shape != (sample.height, sample.width):
            size = (sample.width, sample.height)
            ids = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST_EXACT)
        return np.asarray(ids, np.uint8)


def _dice(scores: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """1 less the mean over classes of Dice on the whole batch (Milletari et al. 2016, eq. 1)."""
    share = scores.softmax(dim=1) * known[:, None]
    wanted = functional.one_hot(truth * known, scores.shape[1]).permute(0, 3, 1, 2) * known[:, None]
    over = (0, 2, 3)
    both = (share * wanted).sum(over)
    return 1 - ((2 * both + 1) / ((share + wanted).sum(over) + 1)).mean()


class _Out(nn.Module):
    """torchvision's segmenters answer with a dict."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.inner = net

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)["out"]
        return out


def torchvision_segmenter(builder: str, classes: int) -> nn.Module:
    """From scratch."""
    from torchvision import models

    return _Out(models.get_model(builder, weights=None, weights_backbone=None, num_classes=classes))


def _map_of(sample: Sample) -> ByteArray:
    if sample.class_map_hw is None:
        raise ValueError(f"{sample.key} has no class-id map")
    return sample.class_map_hw
