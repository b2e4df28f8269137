"""Diversity: the copies of one source differ from one another.

`distance` is 1 - SSIM to the nearest copy of the same source that has a lower number: 0 where the
two are equal. It is taken at 256 pixels of the longer side, and brightness counts in steps of the
source's own range, so that a dim image is judged as a bright one. Copy 0 has none to compare with,
and no score; nor is a copy held against one that failed.

Whether the other one is kept does not matter, so that what is measured does not depend on any
threshold: of copies that are all alike the first passes, and no other. All copies of a source are
woven in one chunk; a retry makes only those that failed, and compares these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from pydantic import Field

from pipeline import metrics
from pipeline.gate import Gate, GateContext, Measured
from pipeline.gates.planes import at_size, earlier_copies, luma, working_size
from pipeline.model import Models
from schemas.sample import ByteArray, Sample

ENDS: Final = (0.001, 0.999)
"""Quantiles of the source that become black and white: single hot pixels do not count."""


class Diversity(Gate):
    """Keeps what differs from the earlier copies of its source."""

    kind: Literal["diversity"] = "diversity"
    min_distance: float = Field(0.002, ge=0, le=2)

    def measure(
        self,
        sources: Sequence[Sample],
        samples: Sequence[Sample],
        models: Models,
        context: GateContext,
    ) -> list[Measured]:
        """The score is `distance`."""
        earlier = earlier_copies(samples)
        compared = {j for others in earlier for j in others}
        asked = sorted(compared | {i for i, others in enumerate(earlier) if others})
        planes = {i: _plane(sources[i], samples[i]) for i in asked}
        return [
            Measured(
                {"distance": min(1 - metrics.ssim(planes[i], planes[j]) for j in others)}
                if others
                else {}
            )
            for i, others in enumerate(earlier)
        ]

    def decide(self, scores: Mapping[str, float]) -> str | None:
        """The reason is `too_alike`."""
        return "too_alike" if scores.get("distance", 2.0) < self.min_distance else None


def _plane(source: Sample, sample: Sample) -> ByteArray:
    """(h, w, 1): at the working size of the source, black to white of the source."""
    before = luma(source.image_hwc)
    low, high = np.quantile(before, ENDS)
    after = at_size(luma(sample.image_hwc), working_size(before.shape))
    stretched = np.clip((after - low) / max(high - low, 1e-6), 0, 1)
    return np.asarray(np.round(stretched * 255), np.uint8)[:, :, None]
