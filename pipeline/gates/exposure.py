"""Exposure: the copy is neither black nor burnt out nor washed out, against its source.

The source is the yardstick, because what is normal differs: fluorescence is mostly black, a smear
mostly bright. `luma_ratio` and `contrast_ratio` are mean and deviation of luma relative to the
source's; `black_more` and `white_more` the shares of pixels that are at the end of the range, less
those of the source. Mean luma (0 to 1) and both shares themselves are written, too, and may be
bounded.

What is relative to a black source has no score, nor has the contrast of a uniform one; nor
anything relative where an op made another picture (`synthesize`): of such, only the scores
themselves can be judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from pydantic import Field

from pipeline.gate import Gate, GateContext, Measured
from pipeline.gates.fields import Range
from pipeline.gates.planes import luma
from pipeline.known.fingerprint import Floats
from pipeline.model import Models
from schemas.sample import Sample

STEP: Final = {False: 1 / 255, True: 1 / 65535}
"""Of luma, by whether the image is deep."""


class Exposure(Gate):
    """Keeps what is about as bright and as rich in contrast as its source."""

    kind: Literal["exposure"] = "exposure"
    luma_ratio: Range | None = (0.5, 2.0)
    contrast_ratio: Range | None = (0.5, 2.0)
    max_black_more: float = Field(0.1, ge=0, le=1)
    max_white_more: float = Field(0.1, ge=0, le=1)
    luma: Range | None = None
    max_black: float = Field(1, ge=0, le=1)
    max_white: float = Field(1, ge=0, le=1)

    def measure(
        self,
        sources: Sequence[Sample],
        samples: Sequence[Sample],
        models: Models,
        context: GateContext,
    ) -> list[Measured]:
        """Scores are `luma`, `black`, `white`, and relative to the source `luma_ratio`,
        `contrast_ratio`, `black_more` and `white_more`.
        """
        pairs = zip(sources, samples, strict=True)
        return [
            Measured(_own(sample) | ({} if context.new_picture(i) else _relative(source, sample)))
            for i, (source, sample) in enumerate(pairs)
        ]

    def decide(self, scores: Mapping[str, float]) -> str | None:
        """Reasons are `too_dark`, `too_bright`, `washed_out`, `too_contrasty`, `clipped_black` and
        `clipped_white`.
        """
        ranges = (
            ("luma_ratio", self.luma_ratio, "too_dark", "too_bright"),
            ("luma", self.luma, "too_dark", "too_bright"),
            ("contrast_ratio", self.contrast_ratio, "washed_out", "too_contrasty"),
        )
        for name, bounds, below, above in ranges:
            if bounds is not None and name in scores:
                if scores[name] < bounds[0]:
                    return below
                if scores[name] > bounds[1]:
                    return above
        limits = (
            ("black_more", self.max_black_more, "clipped_black"),
            ("black", self.max_black, "clipped_black"),
            ("white_more", self.max_white_more, "clipped_white"),
            ("white", self.max_white, "clipped_white"),
        )
        return next((slug for name, most, slug in limits if scores.get(name, 0) > most), None)


def _own(sample: Sample) -> dict[str, float]:
    plane, step = luma(sample.image_hwc), STEP[sample.deep]
    black, white = _ends(plane, step)
    return {"luma": float(plane.mean()), "black": black, "white": white}


def _relative(source: Sample, sample: Sample) -> dict[str, float]:
    before, after = luma(source.image_hwc), luma(sample.image_hwc)
    ends, usual = _ends(after, STEP[sample.deep]), _ends(before, STEP[source.deep])
    scores = {"black_more": ends[0] - usual[0], "white_more": ends[1] - usual[1]}
    half = STEP[source.deep] / 2
    if before.mean() > half:
        scores["luma_ratio"] = float(after.mean() / before.mean())
    if before.std() > half:
        scores["contrast_ratio"] = float(after.std() / before.std())
    return scores


def _ends(plane_hw: Floats, step: float) -> tuple[float, float]:
    """The shares of pixels that are black, and that are white."""
    half = step / 2
    return float(np.mean(plane_hw <= half)), float(np.mean(plane_hw >= 1 - half))
