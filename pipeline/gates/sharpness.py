"""Sharpness: the copy is not blurred, nor coarsened, against its source.

`sharpness` is the variance of the Laplacian of luma over the variance of luma: the share of fine
structure, whatever the brightness and the contrast are. It is measured as the copy is and with as
many pixels as its source has, and the sharper counts: so neither a crop nor an enlarged copy is
taken for a blurred one. `ratio` is that of the copy relative to that of the source, and must lie in
its range; a range for `sharpness` itself may be given besides.

Where an op made another picture (`synthesize`) there is no `ratio`: other objects are another
amount of structure, and only `sharpness` itself can be judged. An image that is as good as uniform
has no structure to be sharp, and no score (`exposure` catches it).

0.33: copies by the shipped models have 0.40 to 1.84, sources after a Gaussian blur of sigma 1 have
0.28 at most (docs/gates.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import cv2
import numpy as np

from pipeline.gate import Gate, GateContext, Measured
from pipeline.gates.fields import Range, outside
from pipeline.gates.planes import at_size, luma
from pipeline.known.fingerprint import Floats
from pipeline.model import Models
from schemas.sample import Sample

FLAT: Final = 0.5 / 255
"""Deviation of luma: what is below is rounding to 8 bits."""

DEEP_FLAT: Final = 0.5 / 65535


class Sharpness(Gate):
    """Keeps what is about as sharp as its source."""

    kind: Literal["sharpness"] = "sharpness"
    ratio: Range | None = (0.33, 10.0)
    sharpness: Range | None = None

    def measure(
        self,
        sources: Sequence[Sample],
        samples: Sequence[Sample],
        models: Models,
        context: GateContext,
    ) -> list[Measured]:
        """Scores are `sharpness` and `ratio`; `ratio` where the source is a yardstick."""
        measured = []
        for i, (source, sample) in enumerate(zip(sources, samples, strict=True)):
            scores = _scores(source, sample)
            if context.new_picture(i):
                scores.pop("ratio", None)
            measured.append(Measured(scores))
        return measured

    def decide(self, scores: Mapping[str, float]) -> str | None:
        """Reasons are `blurred` and `too_sharp`."""
        for name, bounds in (("ratio", self.ratio), ("sharpness", self.sharpness)):
            if bounds is not None and name in scores and outside(scores[name], bounds):
                return "blurred" if scores[name] < bounds[0] else "too_sharp"
        return None


def _scores(source: Sample, sample: Sample) -> dict[str, float]:
    before, after = luma(source.image_hwc), luma(sample.image_hwc)
    its = _sharpness(after, DEEP_FLAT if sample.deep else FLAT)
    if its is None:
        return {}
    if before.size != after.size:
        scale = (before.size / after.size) ** 0.5
        hw = tuple(max(1, round(side * scale)) for side in after.shape)
        its = max(its, _sharpness(at_size(after, hw), 0) or 0)
    usual = _sharpness(before, DEEP_FLAT if source.deep else FLAT)
    return {"sharpness": its} | ({"ratio": its / usual} if usual else {})


def _sharpness(plane_hw: Floats, flat: float) -> float | None:
    """None where the deviation is not above `flat`."""
    if float(plane_hw.std()) <= flat:
        return None
    fine = cv2.Laplacian(plane_hw, cv2.CV_32F)
    return float(np.var(fine, dtype=np.float64) / np.var(plane_hw, dtype=np.float64))
