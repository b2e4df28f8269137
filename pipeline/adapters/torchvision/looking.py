"""Networks of torchvision in use: one image at a time, at its own size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from pipeline.adapters.naming import named_detections, named_map
from pipeline.model import ClassMap, Detections
from schemas.models import TorchvisionModel
from schemas.sample import ByteArray

if TYPE_CHECKING:
    from torch import nn

MEAN: Final = (0.485, 0.456, 0.406)
DEVIATION: Final = (0.229, 0.224, 0.225)
"""Of ImageNet: what torchvision's references train segmenters with."""


class TorchvisionDetector:
    """Finds objects. torchvision normalises and resizes in the network itself."""

    def __init__(self, net: nn.Module, spec: TorchvisionModel, digest: str, device: str) -> None:
        self.digest = digest
        self._net, self._spec, self._device = net.to(device), spec, torch.device(device)

    def sure(self, images: Sequence[ByteArray]) -> list[Detections]:
        """What has a name and a score of the threshold or more."""
        return [self._look(image) for image in images]

    @torch.inference_mode()
    def _look(self, image_hwc: ByteArray) -> Detections:
        (out,) = self._net([_values(image_hwc, self._device)])
        return named_detections(
            out["boxes"].cpu().numpy().astype(np.float64),
            out["scores"].cpu().numpy().astype(np.float64),
            out["labels"].cpu().numpy(),
            self._spec.classes,
            self._spec.threshold,
            (image_hwc.shape[0], image_hwc.shape[1]),
        )


class TorchvisionSegmenter:
    """Tells a class for every pixel."""

    def __init__(self, net: nn.Module, spec: TorchvisionModel, digest: str, device: str) -> None:
        self.digest = digest
        self._net, self._spec, self._device = net.to(device), spec, torch.device(device)

    def segment(self, images: Sequence[ByteArray]) -> list[ClassMap]:
        """The class with the largest logit."""
        return [self._look(image) for image in images]

    @torch.inference_mode()
    def _look(self, image_hwc: ByteArray) -> ClassMap:
        mean, deviation = (
            torch.tensor(values, device=self._device)[:, None, None]
            for values in (self._spec.mean or MEAN, self._spec.deviation or DEVIATION)
        )
        x = (_values(image_hwc, self._device) - mean) / deviation
        logits_chw = self._net(x[None])["out"][0]
        return named_map(logits_chw.argmax(dim=0).cpu().numpy(), self._spec.classes)


def _values(image_hwc: ByteArray, device: torch.device) -> Tensor:
    """(3, h, w), from 0 to 1."""
    values = image_hwc.astype(np.float32) / np.float32(255)
    return torch.from_numpy(values).permute(2, 0, 1).contiguous().to(device)
