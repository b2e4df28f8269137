"""Fidelity: the sample is neither a copy of its source nor unrecognisable.

PSNR (dB; identical images count as 100) and SSIM to the source must lie in their ranges. A range
that is left out is not judged, and nothing is where the size of the image has changed or an op made
another picture (`synthesize`): such a sample is kept, without a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, model_validator

from pipeline import metrics
from pipeline.gate import Gate, GateContext, Measured
from pipeline.model import Models
from schemas.sample import Sample


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"the lower bound {bounds[0]:g} is above the upper bound {bounds[1]:g}")
    return bounds


Range = Annotated[tuple[float, float], AfterValidator(_ascending)]
"""[lowest, highest], both allowed."""


class Fidelity(Gate):
    """Keeps what is within these distances of its source."""

    kind: Literal["fidelity"] = "fidelity"
    psnr: Range | None = None
    ssim: Range | None = None

    compares_pictures: ClassVar[bool] = True

    @model_validator(mode="after")
    def _judges_something(self) -> Fidelity:
        if self.psnr is None and self.ssim is None:
            raise ValueError("give psnr: [lowest, highest], ssim: [lowest, highest], or both")
        return self

    def measure(
        self,
        sources: Sequence[Sample],
        samples: Sequence[Sample],
        models: Models,
        context: GateContext,
    ) -> list[Measured]:
        """Scores are `psnr` and `ssim`."""
        return [Measured(_likeness(*pair)) for pair in zip(sources, samples, strict=True)]

    def decide(self, scores: Mapping[str, float]) -> str | None:
        """Reasons are `psnr_out_of_range` and `ssim_out_of_range`."""
        for name, bounds in (("psnr", self.psnr), ("ssim", self.ssim)):
            if bounds is None or name not in scores:
                continue
            if not bounds[0] <= scores[name] <= bounds[1]:
                return f"{name}_out_of_range"
        return None


def _likeness(source: Sample, sample: Sample) -> dict[str, float]:
    images = source.image_hwc, sample.image_hwc
    if images[0].shape != images[1].shape:
        return {}
    return {"psnr": metrics.psnr(*images), "ssim": metrics.ssim(*images)}
