"""Faults of single objects in a labels file, and what the recipe's `source.repair` does about them.

Every object is held against, in this order,

    unknown_class        not among the recipe's `classes`
    box_not_finite       NaN or infinity
    box_reversed         x1 < x0 or y1 < y0
    box_out_of_range     reaches out by more than 1 pixel
    box_empty            no area inside the image
    bad_mask             of another size than the image, runs that do not fill it, or no pixel

and the first fault decides: `quarantine` fails the sample with this slug, `drop_box` leaves the
object out with box, label and mask, and `clip` cuts its box, which is then held against the rest.
What was done is a `Repair` that says where in the file, counted from 0, and what stood there.

Up to 1 pixel outside is cut off in silence: Pascal VOC's numbers begin at 1 and include the last
pixel, so that a conversion that forgets one of the two is off by one. (In the sample datasets, none
of 15,615 boxes is.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from pipeline.labels.geometry import areas, clip, overhang
from pipeline.labels.strict_json import shortened
from schemas.errors import SampleError
from schemas.index import Repair
from schemas.recipe import RepairPolicies
from schemas.sample import BoolArray, FloatArray

TOLERANCE_PX: Final = 1.0


@dataclass
class Mender:
    """The policies of one recipe on the objects of one file; `repairs` is what they did so far."""

    policies: RepairPolicies
    repairs: list[Repair] = field(default_factory=list)

    def dropped(self, slug: str, detail: str) -> None:
        """Called where an object has a fault that can only be left out: it is, or SampleError."""
        if self._policy(slug) == "quarantine":
            raise SampleError(slug, detail)
        self.repairs.append(Repair(slug, "drop_box", detail))

    def known(self, names: Sequence[str], classes: tuple[str, ...] | None) -> list[int]:
        """The positions of the objects whose class is among these."""
        kept = []
        for i, name in enumerate(names):
            if classes is None or name in classes:
                kept.append(i)
            else:
                legal = ", ".join(classes)
                self.dropped("unknown_class", f"label {i}: {shortened(name)} is none of {legal}")
        return kept

    def mended(
        self, boxes_n4: FloatArray, places: Sequence[int], height: int, width: int
    ) -> tuple[FloatArray, list[int]]:
        """Of the boxes of the file those at these places, cut at the border, and the places of
        those that stay.
        """
        boxes_n4 = boxes_n4[list(places)]
        finite: BoolArray = np.asarray(np.isfinite(boxes_n4).all(axis=1))
        numbers_n4 = np.where(finite[:, None], boxes_n4, 0)
        inside_n4 = clip(numbers_n4, height, width)
        faults: dict[str, BoolArray] = {
            "box_not_finite": ~finite,
            "box_reversed": np.asarray((numbers_n4[:, 2:] < numbers_n4[:, :2]).any(axis=1)),
            "box_out_of_range": overhang(numbers_n4, height, width) > TOLERANCE_PX,
            "box_empty": areas(inside_n4) == 0,
        }
        bad = np.logical_or.reduce(list(faults.values()))
        gone: set[int] = set()
        for i in np.flatnonzero(bad).tolist():
            slugs = [slug for slug, having in faults.items() if having[i]]
            if not self._mend(slugs, f"box {places[i]}: {boxes_n4[i].tolist()}"):
                gone.add(i)
        kept = [i for i in range(len(boxes_n4)) if i not in gone]
        return inside_n4[kept], [places[i] for i in kept]

    def _mend(self, slugs: Sequence[str], detail: str) -> bool:
        """Whether a box with these faults stays, cut at the border."""
        for slug in slugs:
            if self._policy(slug) != "clip":
                self.dropped(slug, detail)
                return False
        self.repairs.append(Repair("box_out_of_range", "clip", detail))
        return True

    def _policy(self, slug: str) -> str:
        return str(getattr(self.policies, slug))
