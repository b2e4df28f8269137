"""Box area: no object became too small to be seen, or too large.

Boxes count as far as they lie in the image. `area` (pixels), `share` (of the image) and `side` (the
shorter one, pixels) are the smallest of the copy, `largest` is the largest share. A box below a
minimum is let pass where the source has one as small: what nobody made smaller is not rejected. So
each has a second score, relative to the source: `area_to_source` and so on, 1 where nothing
changed. Where the source has no box, the minimum alone counts.

A sample without boxes is not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from pipeline.gate import Gate, GateContext, Measured
from pipeline.model import Models
from schemas.sample import Sample


class BoxArea(Gate):
    """Keeps what has no box below or above these sizes."""

    kind: Literal["box_area"] = "box_area"
    min_area: float = Field(16, ge=0, description="pixels")
    min_side: float = Field(2, ge=0, description="pixels")
    min_share: float = Field(0, ge=0, le=1, description="of the image")
    max_share: float = Field(1, ge=0, le=1, description="of the image")

    def measure(
        self,
        sources: Sequence[Sample],
        samples: Sequence[Sample],
        models: Models,
        context: GateContext,
    ) -> list[Measured]:
        """Scores are `area`, `side`, `share` and `largest`, and each `..._to_source`."""
        return [Measured(_scores(*pair)) for pair in zip(sources, samples, strict=True)]

    def decide(self, scores: Mapping[str, float]) -> str | None:
        """Reasons are `box_too_small`, `box_too_narrow` and `box_too_large`."""
        least = (
            ("area", self.min_area, "box_too_small"),
            ("side", self.min_side, "box_too_narrow"),
            ("share", self.min_share, "box_too_small"),
        )
        for name, bound, slug in least:
            shrunk = scores.get(f"{name}_to_source", 0.0) < 1
            if name in scores and scores[name] < bound and shrunk:
                return slug
        grown = scores.get("largest_to_source", 2.0) > 1
        return "box_too_large" if scores.get("largest", 0) > self.max_share and grown else None


def _scores(source: Sample, sample: Sample) -> dict[str, float]:
    before, after = _sizes(source), _sizes(sample)
    ratios = {f"{name}_to_source": after[name] / x for name, x in before.items() if x and after}
    return after | ratios


def _sizes(sample: Sample) -> dict[str, float]:
    """Empty where there is no box."""
    if not len(sample.objects):
        return {}
    size = np.array([sample.width, sample.height] * 2)
    visible_n4 = np.clip(sample.objects.boxes_n4, 0, size)
    sides_n2 = visible_n4[:, 2:] - visible_n4[:, :2]
    areas_n = sides_n2.prod(axis=1)
    pixels = sample.width * sample.height
    return {
        "area": float(areas_n.min()),
        "side": float(sides_n2.min()),
        "share": float(areas_n.min() / pixels),
        "largest": float(areas_n.max() / pixels),
    }
