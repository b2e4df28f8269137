"""The detector's network: torchvision's FCOS (Tian et al. 2019) on a small backbone of our own.

One level of features is enough where objects differ by a factor of ten in size and half of all
images are looked at in a second: a pyramid down to stride 32 gives it the sight of large objects,
and every object is found at the one stride `config.stride`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from pipeline.diffusion.tone import Curve
from schemas.spec import Spec

if TYPE_CHECKING:
    from torchvision.models.detection import FCOS

CHANNELS = 64
"""Of the features that the head reads; its group norms want a multiple of 32."""

MOST = 300
"""Detections per image. Nuclei: up to 101 labels in one image."""


class DetectorConfig(Spec):
    """What a detector is. `scale`: images are looked at so many times as large as they are.

    `thresholds`: per class, the score from which on a detection counts; see `agreement.py`.
    """

    does: Literal["detect"] = "detect"
    classes: tuple[str, ...] = Field(min_length=1)
    scale: float = Field(1.0, gt=0, le=4)
    stride: Literal[4, 8, 16] = 8
    widths: tuple[int, ...] = Field((32, 48, 96, 128, 128), min_length=3, max_length=6)
    head_convs: int = Field(2, ge=1, le=4)
    curve: Curve = "linear"
    thresholds: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> DetectorConfig:
        if len(self.thresholds) not in (0, len(self.classes)):
            raise ValueError(f"{len(self.thresholds)} thresholds for {len(self.classes)} classes")
        if self.stride > 2 ** len(self.widths):
            raise ValueError(f"stride {self.stride} is deeper than widths: 2^{len(self.widths)}")
        return self


def build(config: DetectorConfig, min_score: float = 0.05) -> FCOS:
    """The network, freshly initialised from torch's global generator."""
    from torchvision.models.detection import FCOS
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.fcos import FCOSHead

    net = FCOS(
        _Pyramid(config.widths, config.stride),
        num_classes=len(config.classes),
        anchor_generator=AnchorGenerator(((config.stride,),), ((1.0,),)),
        head=FCOSHead(CHANNELS, 1, len(config.classes), num_convs=config.head_convs),
        score_thresh=min_score,
        nms_thresh=0.5,
        detections_per_img=MOST,
    )
    net.transform = _padding(2 ** len(config.widths))
    return net


def _padding(multiple: int) -> nn.Module:
    """Images of zero mean and unit deviation, at their size, padded with zeros to a multiple: the
    transform of torchvision enlarges them to 800 pixels (0.29.2: in evaluation also when it is told
    to skip that).
    """
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    class Padding(GeneralizedRCNNTransform):  # type: ignore[misc]
        def resize(
            self, image: Tensor, target: dict[str, Tensor] | None = None
        ) -> tuple[Tensor, dict[str, Tensor] | None]:
            return image, target

    return Padding(1, 1, [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], size_divisible=multiple)


class _Pyramid(nn.Module):
    """Halved again and again, then summed up from the coarsest to the wanted stride."""

    def __init__(self, widths: tuple[int, ...], stride: int) -> None:
        super().__init__()
        self.out_channels = CHANNELS
        self.first = stride.bit_length() - 2  # the level of this stride: level 0 has stride 2
        ins = (3, *widths[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(_conv(i, o, 2), *([_Residual(o)] if level else []))
            for level, (i, o) in enumerate(zip(ins, widths, strict=True))
        )
        self.across = nn.ModuleList(nn.Conv2d(w, CHANNELS, 1) for w in widths[self.first :])
        self.smooth = _conv(CHANNELS, CHANNELS, 1)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        levels: list[Tensor] = []
        for stage in self.down:
            x = stage(x)
            levels.append(x)
        wanted = [m(level) for m, level in zip(self.across, levels[self.first :], strict=True)]
        y = wanted[-1]
        for finer in reversed(wanted[:-1]):
            y = finer + functional.interpolate(y, size=finer.shape[-2:], mode="nearest")
        return OrderedDict(features=self.smooth(y))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(width, width, 1), _conv(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


def _conv(ins: int, outs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(ins, outs, 3, stride, 1, bias=False), nn.BatchNorm2d(outs), nn.ReLU(inplace=True)
    )
