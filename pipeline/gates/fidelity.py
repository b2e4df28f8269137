"""Fidelity: the sample is neither a copy of its source nor unrecognisable.

PSNR (dB; identical images count as 100) and SSIM to the source must lie in their ranges. A range
that is left out is not judged, and nothing is where the size of the image has changed or an op made
another picture (`synthesize`): such a sample is kept, without a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, model_validator

from pipeline import metrics
from pipeline.gate import Gate, GateContext, Verdict
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

    def judge(
        self,
        sources: Sequence[Sample],
        samples: Sequence[Sample],
        models: Models,
        context: GateContext,
    ) -> list[Verdict]:
        """Scores are `psnr` and `ssim`; reasons `psnr_out_of_range` and `ssim_out_of_range`."""
        return [self._verdict(*pair) for pair in zip(sources, samples, strict=True)]

    def _verdict(self, source: Sample, sample: Sample) -> Verdict:
        if source.image_hwc.shape != sample.image_hwc.shape:
            return Verdict(kept=True, reason=None, scores={})
        judged = (("psnr", self.psnr, metrics.psnr), ("ssim", self.ssim, metrics.ssim))
        scores: dict[str, float] = {}
        outside: list[str] = []
        for name, bounds, measure in judged:
            if bounds is None:
                continue
            scores[name] = measure(source.image_hwc, sample.image_hwc)
            if not bounds[0] <= scores[name] <= bounds[1]:
                outside.append(f"{name}_out_of_range")
        return Verdict(kept=not outside, reason=outside[0] if outside else None, scores=scores)
