"""A class-id map held against what a segmenter sees, class by class, with the source as the
yardstick: of a class that it hardly tells in the real picture it can say little in the augmented
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.model import ClassMap
from schemas.sample import IGNORE_ID, BoolArray, ByteArray, Sample


@dataclass(frozen=True)
class ClassSeen:
    """One class of the sample: its IoU, and that of the source; 1 where the source has none."""

    label: str
    iou: float
    expected: float


def miou(classes: Sequence[ClassSeen]) -> float:
    """The share of the expected IoU that is there, over all classes: 1 where the segmenter sees
    each as well as in the source, or better.
    """
    expected = sum(one.expected for one in classes)
    found = sum(min(one.iou, one.expected) for one in classes)
    return found / expected if expected else 1.0


@dataclass(frozen=True, eq=False)
class MapSeen:
    """The labels of one image, by id, and what the segmenter sees there, by name."""

    ids_hw: ByteArray
    seen: ClassMap

    @classmethod
    def of(cls, sample: Sample, seen: ClassMap) -> MapSeen:
        """A sample without a map: nobody labelled a pixel."""
        ids_hw = sample.class_map_hw
        return cls(np.full_like(seen.ids_hw, IGNORE_ID) if ids_hw is None else ids_hw, seen)

    def iou(self, number: int, name: str) -> float | None:
        """Of one class; None where the labels have no pixel of it."""
        wanted: BoolArray = self.ids_hw == number
        if not wanted.any():
            return None
        there = self._place_of(name) & (self.ids_hw != IGNORE_ID)
        return float((wanted & there).sum() / (wanted | there).sum())

    def _place_of(self, name: str) -> BoolArray:
        if name not in self.seen.names:
            return np.zeros(self.ids_hw.shape, np.bool_)
        place: BoolArray = self.seen.ids_hw == self.seen.names.index(name)
        return place


def compare_maps(source: MapSeen, sample: MapSeen, names: Sequence[str]) -> tuple[ClassSeen, ...]:
    """Every class that the sample's map has. Pixels that nobody labelled count nowhere."""
    seen = []
    for number in np.unique(sample.ids_hw[sample.ids_hw != IGNORE_ID]).tolist():
        there, expected = (one.iou(number, names[number]) for one in (sample, source))
        seen.append(ClassSeen(names[number], there or 0.0, 1.0 if expected is None else expected))
    return tuple(seen)
