"""A detector from labelled samples, in minutes on one core, the same for the same seed.

AdamW under one cosine; focal loss, GIoU and centre-ness as FCOS has them. Order, crops and flips
come from the seed by name (`crops.py`), the initial weights from it through torch; on one thread
the same seed gives the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.detection.config import Schooling
from pipeline.detection.crops import Crop, DetectorCrops
from pipeline.detection.detector import MIN_SCORE, Detector
from pipeline.detection.network import DetectorConfig, build
from schemas.sample import Sample

Watch = Callable[[int, float], None]
"""Called after every step with its number, from 1, and its loss."""


def train_detector(
    samples: Sequence[Sample],
    config: DetectorConfig,
    schooling: Schooling,
    watch: Watch = lambda step, loss: None,
) -> Detector:
    """A detector that learnt these samples; its weights have no file yet, and so no digest."""
    if not samples:
        raise ValueError("a detector cannot learn from no samples")
    crops = DetectorCrops(
        samples,
        config.classes,
        schooling.crop,
        config.scale,
        config.curve,
        schooling.flips,
        schooling.seed,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(schooling.seed)
        net = build(config, MIN_SCORE).train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(
        net.parameters(), schooling.lr, weight_decay=schooling.weight_decay
    )
    for step in range(schooling.steps):
        for group in optimiser.param_groups:
            group["lr"] = schooling.lr * _pace(step, schooling)
        first = step * schooling.batch
        batch = [crops.crop(k) for k in range(first, first + schooling.batch)]
        losses: dict[str, Tensor] = net([_image(c) for c in batch], [_target(c) for c in batch])
        loss = torch.stack(list(losses.values())).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), schooling.clip)
        optimiser.step()
        watch(step + 1, float(loss.detach()))
    return Detector(config, net, "untitled")


def _pace(step: int, schooling: Schooling) -> float:
    """Of the learning rate: a linear start, then half a cosine down to 0."""
    rise = min(1.0, (step + 1) / max(1, schooling.warmup))
    return rise * 0.5 * (1 + math.cos(math.pi * step / schooling.steps))


def _image(crop: Crop) -> Tensor:
    return torch.from_numpy(crop.values_hwc).permute(2, 0, 1)


def _target(crop: Crop) -> dict[str, Tensor]:
    return {
        "boxes": torch.from_numpy(crop.boxes_n4).float().reshape(-1, 4),
        "labels": torch.from_numpy(crop.labels_n),
    }
