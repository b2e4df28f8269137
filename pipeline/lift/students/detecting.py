"""Students that find objects: our FCOS, and torchvision's builders by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.detection.network import DetectorConfig, build
from pipeline.diffusion.tone import Curve
from pipeline.labels.geometry import areas, clip
from pipeline.lift.config import FcosStudent
from pipeline.lift.evidence import Matches, matches
from pipeline.lift.feed import Crop, resized, tone_of
from pipeline.model import Detections
from schemas.sample import Sample


class DetectorLearner:
    """The network's own loss. `first`: the number of the first class, where 0 is background: 1."""

    def __init__(
        self,
        net: nn.Module,
        classes: Sequence[str],
        first: int,
        scale: float,
        tone: Curve | None,
        device: str,
    ) -> None:
        self.net = net.to(device)
        self._classes, self._first = tuple(classes), first
        self._scale, self._tone, self._device = scale, tone, device

    def loss(self, crops: Sequence[Crop]) -> Tensor:
        """The sum of what the network says of its mistakes."""
        images = [self._image(c) for c in crops]
        losses: dict[str, Tensor] = self.net(images, [self._target(c.sample) for c in crops])
        return torch.stack(list(losses.values())).sum()

    @torch.inference_mode()
    def answers(self, samples: Sequence[Sample]) -> Matches:
        """Everything that it finds, best first."""
        self.net.eval()
        return matches(samples, [self._found(sample) for sample in samples], self._classes)

    def _found(self, sample: Sample) -> Detections:
        hw = [max(1, round(side * self._scale)) for side in (sample.height, sample.width)]
        tone = tone_of(sample.rgb_hwc, self._tone)
        seen = tone.encode(resized(sample, hw[0], hw[1]).rgb_hwc)
        (out,) = self.net([torch.from_numpy(seen).permute(2, 0, 1).to(self._device)])
        zoom = np.array([sample.width / hw[1], sample.height / hw[0]] * 2)
        boxes = out["boxes"].cpu().numpy().astype(np.float64) * zoom
        names = tuple(self._classes[int(i) - self._first] for i in out["labels"])
        scores = out["scores"].cpu().numpy().astype(np.float64)
        return Detections(clip(boxes, sample.height, sample.width), scores, names)

    def _image(self, crop: Crop) -> Tensor:
        return torch.from_numpy(crop.values_hwc).permute(2, 0, 1).to(self._device)

    def _target(self, sample: Sample) -> dict[str, Tensor]:
        objects = sample.objects
        known = np.array([label in self._classes for label in objects.labels], np.bool_)
        kept = objects.take(np.flatnonzero(known & (areas(objects.boxes_n4) > 0)).tolist())
        numbers = [self._classes.index(label) + self._first for label in kept.labels]
        return {
            "boxes": torch.from_numpy(kept.boxes_n4).float().reshape(-1, 4).to(self._device),
            "labels": torch.tensor(numbers, dtype=torch.int64, device=self._device),
        }


def fcos(student: FcosStudent, classes: Sequence[str]) -> nn.Module:
    """The detector of `noiseloom train detector`."""
    config = DetectorConfig(
        classes=tuple(classes),
        scale=student.scale,
        stride=student.stride,
        widths=student.widths,
    )
    net: nn.Module = build(config)
    return net


def torchvision_detector(builder: str, classes: int) -> nn.Module:
    """From scratch."""
    from torchvision import models

    net: nn.Module = models.get_model(
        builder, weights=None, weights_backbone=None, num_classes=classes + 1
    )
    return net
