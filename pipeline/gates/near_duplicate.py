"""Near duplicate: the copy is not its source, not another copy, and no other image of the source.

Three scores, each a correlation of gray: 1 for the same picture, whatever its brightness and
contrast are, and also where it is mirrored or turned by quarter turns.

`source`: to its own source. By default it is not judged: where nothing was drawn for a copy it is
its source, and some recipes want that. 0.9999 rejects what is as good as untouched.

`copies`: to the most similar copy of the same source that has a lower number (see `diversity`).

`others`: to another source image that the copy reproduces, in gray of 64x64; 0 where it reproduces
none. That is a training image that the model has learnt by heart: too little new, and where the
images are private a leak. A copy reproduces an image where it is at least twice as near to it as
its own source is: frames of one scene are near to each other from the start, and reproduce nothing.
Candidates are found by a perceptual hash among the fingerprints of all images of the source, which
are made before the run and kept in the sink; `max_others: null` does without, and without a score.

An image that is as good as uniform is like nothing, and has no score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from pipeline.gate import Gate, GateContext, Measured
from pipeline.gates.planes import at_size, earlier_copies, luma, working_size
from pipeline.known.fingerprint import Floats, Look, looks, small_gray, turned
from pipeline.model import Models
from schemas.sample import Sample


class NearDuplicate(Gate):
    """Keeps what is not yet there."""

    kind: Literal["near_duplicate"] = "near_duplicate"
    max_source: float | None = Field(None, ge=0, le=1)
    max_copies: float | None = Field(0.9999, ge=0, le=1)
    max_others: float | None = Field(0.95, ge=0, le=1)

    @property
    def needs_known(self) -> bool:
        """Unless the check against other images is off."""
        return self.max_others is not None

    def measure(
        self,
        sources: Sequence[Sample],
        samples: Sequence[Sample],
        models: Models,
        context: GateContext,
    ) -> list[Measured]:
        """Scores are `source`, `copies` and `others`."""
        of_source = {id(source.image_hwc): _view(source) for source in sources}
        before = [of_source[id(source.image_hwc)] for source in sources]
        after = [_view(sample) for sample in samples]
        measured = []
        for i, earlier in enumerate(earlier_copies(samples)):
            scores = {}
            if (own := _alike(after[i], before[i])) is not None:
                scores["source"] = own
            found = [_alike(after[i], after[j]) for j in earlier]
            if there := [one for one in found if one is not None]:
                scores["copies"] = max(there)
            if context.known is not None and not after[i].flat:
                scores["others"] = context.known.reproduced(after[i].eight, before[i].eight)
            measured.append(Measured(scores))
        return measured

    def decide(self, scores: Mapping[str, float]) -> str | None:
        """Reasons are `like_source`, `like_copy` and `like_other_source`."""
        limits = (
            ("source", self.max_source, "like_source"),
            ("copies", self.max_copies, "like_copy"),
            ("others", self.max_others, "like_other_source"),
        )
        for name, most, slug in limits:
            if most is not None and scores.get(name, -1.0) > most:
                return slug
        return None


@dataclass(frozen=True, eq=False)
class _View:
    """One image: luma at the working size, and its looks."""

    plane_hw: Floats
    eight: list[Look]

    @property
    def flat(self) -> bool:
        return self.eight[0].flat


def _view(sample: Sample) -> _View:
    plane = luma(sample.image_hwc)
    small = looks(small_gray(sample.image_hwc))
    return _View(at_size(plane, working_size(plane.shape)), small)


def _alike(a: _View, b: _View) -> float | None:
    """The correlation of two images, the one turned as fits best; None where there is none."""
    if a.flat or b.flat:
        return None
    way = int(np.argmax([look.gray @ b.eight[0].gray for look in a.eight]))
    plane = at_size(turned(a.plane_hw, way), b.plane_hw.shape)
    x, y = plane - plane.mean(), b.plane_hw - b.plane_hw.mean()
    length = float(np.linalg.norm(x) * np.linalg.norm(y))
    return min(1.0, float((x * y).sum(dtype=np.float64)) / length) if length else None
