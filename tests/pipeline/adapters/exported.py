"""A detector of torchvision's make, exported to ONNX as its users do it."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.detection.detector import load_detector


class _Looking(nn.Module):
    """The shipped detector for blood cells with what it does before its network: half the size,
    zero mean and unit deviation.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.net = load_detector(folder)._net

    def forward(self, image_chw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = nn.functional.avg_pool2d(image_chw[None], 2)[0]
        (out,) = self.net([(seen - seen.mean()) / seen.std()])
        return out["boxes"] * 2, out["labels"], out["scores"]


def exported_detector(folder: Path, path: Path, hw: tuple[int, int]) -> Path:
    """The exporter that works by TorchScript: it needs no other package. It is deprecated, and
    torchvision's networks trace with a good many warnings.
    """
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning, torch.jit.TracerWarning):
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("ignore", "To copy construct from a tensor", UserWarning)
        torch.onnx.export(
            _Looking(folder).eval(),
            (torch.rand(3, *hw, generator=torch.Generator().manual_seed(1)),),
            str(path),
            dynamo=False,
            input_names=["image"],
            output_names=["boxes", "labels", "scores"],
        )
    return path
