"""Class balancing: which image a crop is from, and around which object it is placed.

Repeat-factor sampling (Gupta, Dollár & Girshick 2019, "LVIS", sec. 4.2): a class that is in a share
f of the images has the factor r = max(1, sqrt(t / f)), an image the largest of its classes, and
images are drawn by their factors. Their threshold t is `balance` here. It is also the share of
crops that are placed around an object, of a class that is drawn among those in the image by the
same factors: a class that is in every image, but small there, is seldom hit by a random crop.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from pipeline.source.plan import Chunk, read_chunk
from schemas.recipe import Source
from schemas.sample import FloatArray, Instances


@dataclass(frozen=True)
class Balance:
    """How images and objects are drawn. `weights` (cumulated) and `factors` are empty without
    balancing: every image is as likely, and crops lie anywhere.
    """

    images: int
    share: float = 0.0
    factors: dict[str, float] = field(default_factory=dict)
    cumulated: FloatArray = field(default_factory=lambda: np.zeros(0))

    @staticmethod
    def of(classes_per_image: Sequence[frozenset[str]], share: float) -> Balance:
        """The balance of a data set whose images hold these classes."""
        count = len(classes_per_image)
        if share == 0:
            return Balance(count)
        names = sorted(frozenset[str]().union(*classes_per_image))
        found = {c: sum(c in classes for classes in classes_per_image) / count for c in names}
        factors = {c: max(1.0, float(np.sqrt(share / f))) for c, f in found.items()}
        repeats = [max([factors[c] for c in part], default=1.0) for part in classes_per_image]
        cumulated = np.cumsum(np.array(repeats, np.float64))
        return Balance(count, share, factors, cumulated / cumulated[-1])

    def image(self, rng: Generator) -> int:
        """The number of an image."""
        if not self.share:
            return int(rng.integers(self.images))
        found = int(np.searchsorted(self.cumulated, rng.random(), side="right"))
        return min(found, self.images - 1)

    def box(self, objects: Instances, rng: Generator) -> FloatArray | None:
        """The box that a crop is placed around, or None where it may lie anywhere."""
        if not self.share or rng.random() >= self.share or not len(objects):
            return None
        names = sorted(set(objects.labels))
        weights = np.array([self.factors.get(name, 1.0) for name in names])
        name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        mine = [i for i, label in enumerate(objects.labels) if label == name]
        box: FloatArray = objects.boxes_n4[mine[int(rng.integers(len(mine)))]]
        return box


def classes_in(chunks: Sequence[Chunk], source: Source) -> list[frozenset[str]]:
    """The classes of every sample of these chunks; no image is fetched."""
    labels_only = source.model_copy(update={"image": (), "segmentation": None})
    return [_names(sample.labels) for chunk in chunks for sample in read_chunk(chunk, labels_only)]


def _names(labels: bytes | None) -> frozenset[str]:
    """The class names in a labels file; what is wrong with it is said when it is decoded."""
    try:
        record = json.loads((labels or b"{}").decode("utf-8-sig"))
    except ValueError:
        return frozenset()
    names = record.get("labels") if isinstance(record, dict) else None
    return (
        frozenset(n for n in names if isinstance(n, str))
        if isinstance(names, list)
        else (frozenset())
    )
