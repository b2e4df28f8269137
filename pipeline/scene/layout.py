"""Where objects are in a dataset, and where new ones may be: the statistics of a chunk's samples,
and places drawn by them.

Everything is measured on the peers that are *kin* to a sample: a peer weighs exp(-d²/2) where d is
the log ratio of their median object sizes over 0.25, so that images taken at another magnification
lend next to nothing. Per object: its size, its shape (aspect), its place in the image, and its
overlap, which is the largest share that it has in common with one other object, of the smaller of
the two boxes.

- **size**: an object is scaled by ±10 % around itself, and stays within the sizes of its class.
- **turn**: by any angle where the boxes of the class are as often wide as high; else by ±8°.
- **place**: near the place of another object of its class (a kernel density of 0.1 of the sides).
- **overlap**: a share is drawn from the objects of the class, and of 64 places that one is taken
  whose overlap with what is there comes nearest to it; it is cut by the image's border where the
  object was, too.

Measured on the two sample datasets, 16 and 8 images, data against 48 and 24 new layouts:

| | objects | size, median | overlap, mean | overlap above 0.1 | at the border |
|---|---|---|---|---|---|
| bccd, data / new | 15.6 / 15.3 | 100 / 100 px | 0.17 / 0.15 | 56 / 48 % | 12 / 11 % |
| nuclei, data / new | 20.9 / 17.4 | 14.4 / 14.8 px | 0.03 / 0.02 | 13 / 7 % | 28 / 24 % |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.labels.geometry import areas
from pipeline.op import Peers
from pipeline.scene.cutout import at_border
from pipeline.scene.per_sample import per_sample
from schemas.sample import FloatArray, Sample

KINSHIP: Final = 0.25
"""Log ratio of median sizes at which a peer weighs 0.6; at twice the size it weighs 0.02."""
JITTER: Final = 0.1
"""Of a size, and of a place as a share of the image's sides."""
TILT: Final = 8.0
"""Degrees, for classes that stand or lie."""
CANDIDATES: Final = 64
BEST: Final = 8
"""Of the candidates, those that are looked at closely."""
IN_SIGHT: Final = 0.4
"""Share of its box that an object has in the image at least."""


class Placed(NamedTuple):
    """Object `i` of the sample `key`, mirrored, scaled, turned by `angle` degrees, with its centre
    at (x, y). A JSON list in a draw.
    """

    key: str
    i: int
    x: float
    y: float
    scale: float
    angle: float
    mirror: bool


@dataclass(frozen=True, eq=False)
class Scene:
    """The objects of one sample as numbers; `earlier_n`: overlap with those before it alone;
    `whole_n`: not cut by the image's border.
    """

    labels: tuple[str, ...]
    size_n: FloatArray
    aspect_n: FloatArray
    place_n2: FloatArray
    overlap_n: FloatArray
    earlier_n: FloatArray
    whole_n: NDArray[np.bool_]


@per_sample
def scene(sample: Sample) -> Scene:
    """Measured once per sample."""
    boxes = sample.objects.boxes_n4
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    return Scene(
        sample.objects.labels,
        np.sqrt(sides.prod(axis=1)),
        np.log(sides[:, 0] / sides[:, 1]),
        (boxes[:, :2] + boxes[:, 2:]) / 2 / [sample.width, sample.height],
        _largest_overlaps(boxes),
        _largest_overlaps(boxes, earlier=True),
        np.array([not at_border(box, sample) for box in boxes], bool),
    )


def overlaps(boxes_n4: FloatArray, others_m4: FloatArray) -> FloatArray:
    """Shared area over that of the smaller box, (n, m)."""
    low = np.maximum(boxes_n4[:, None, :2], others_m4[None, :, :2])
    high = np.minimum(boxes_n4[:, None, 2:], others_m4[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    smaller = np.minimum(areas(boxes_n4)[:, None], areas(others_m4)[None, :])
    ratio: FloatArray = shared / np.maximum(smaller, 1e-6)
    return ratio


def _largest_overlaps(boxes_n4: FloatArray, earlier: bool = False) -> FloatArray:
    if len(boxes_n4) < 2:
        return np.zeros(len(boxes_n4))
    ratio = overlaps(boxes_n4, boxes_n4)
    ratio = np.tril(ratio, -1) if earlier else ratio * (1 - np.eye(len(ratio)))
    largest: FloatArray = ratio.max(axis=1)
    return largest


@dataclass(frozen=True, eq=False)
class Kin:
    """The samples that lend to one sample, each with its weight; those without objects do not."""

    samples: tuple[Sample, ...]
    weights: FloatArray

    @staticmethod
    def of(sample: Sample, peers: Peers) -> Kin:
        """All peers with objects and the sample's kind of pixels; itself among them, if it is
        one.
        """
        pixels = sample.image_hwc.dtype, sample.image_hwc.shape[2]
        lending = tuple(
            peer
            for peer in peers.values()
            if len(peer.objects) and (peer.image_hwc.dtype, peer.image_hwc.shape[2]) == pixels
        )
        own = scene(sample).size_n
        if not len(own):
            return Kin(lending, np.ones(len(lending)))
        medians = np.array([np.median(scene(peer).size_n) for peer in lending])
        distance = np.log(np.maximum(medians, 1e-6) / np.median(own)) / KINSHIP
        return Kin(lending, np.exp(-0.5 * np.minimum(distance**2, 50)))

    def one(self, rng: Generator) -> Sample:
        """A sample, by weight."""
        return self.samples[int(rng.choice(len(self.samples), p=_share(self.weights)))]

    def limits(self) -> dict[str, Limits]:
        """What is usual for every class that there is."""
        rows: dict[str, list[tuple[int, int]]] = {}
        for number, sample in enumerate(self.samples):
            for i, label in enumerate(sample.objects.labels):
                rows.setdefault(label, []).append((number, i))
        return {label: self._limits(which) for label, which in rows.items()}

    def _limits(self, rows: Sequence[tuple[int, int]]) -> Limits:
        scenes = [scene(sample) for sample in self.samples]
        weights = self.weights[[number for number, _ in rows]]
        whole = np.array([scenes[n].whole_n[i] for n, i in rows])
        near = weights >= 0.05 * weights.max()
        counted = whole & near if (whole & near).any() else near
        sizes = np.array([scenes[n].size_n[i] for n, i in rows])
        aspects = np.array([scenes[n].aspect_n[i] for n, i in rows])
        standing = abs(np.median(aspects[counted])) > 0.5 * np.std(aspects[counted]) + 0.05
        return Limits(
            tuple((self.samples[n].key, i) for n, i in rows),
            weights * np.where(whole.any(), whole, True),
            weights,
            (float(sizes[counted].min()), float(sizes[counted].max())),
            TILT if standing else 180.0,
            np.array([scenes[n].place_n2[i] for n, i in rows]),
            np.array([scenes[n].overlap_n[i] for n, i in rows]),
            np.array([scenes[n].earlier_n[i] for n, i in rows]),
            whole,
        )


@dataclass(frozen=True, eq=False)
class Limits:
    """One class among the kin: its objects, how much each weighs as a donor of shape and as one of
    numbers, the range of sizes, the widest turn in degrees, and the scenes' numbers.
    """

    objects: tuple[tuple[str, int], ...]
    shape_weights: FloatArray
    weights: FloatArray
    size: tuple[float, float]
    turn: float
    places_n2: FloatArray
    overlaps_n: FloatArray
    earlier_n: FloatArray
    whole_n: NDArray[np.bool_]

    def donor(self, rng: Generator) -> tuple[str, int]:
        """Key and number of an object, by weight."""
        return self.objects[int(rng.choice(len(self.objects), p=_share(self.shape_weights)))]


def _share(weights: FloatArray) -> FloatArray:
    weights = weights + 1e-12  # where nobody is kin, everybody is
    share: FloatArray = weights / weights.sum()
    return share


def scale_for(size: float, limits: Limits, rng: Generator) -> float:
    """A scale for an object of this size that leaves it within the limits."""
    scale = float(rng.uniform(1 - JITTER, 1 + JITTER))
    return float(np.clip(size * scale, *limits.size)) / size


def turned_box(box: FloatArray, scale: float, angle: float) -> FloatArray:
    """Width and height of the ellipse in a box, scaled and turned."""
    a, b = (box[2:] - box[:2]) * scale
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return np.array([np.hypot(a * c, b * s), np.hypot(a * s, b * c)])


def place(
    limits: Limits,
    sides: FloatArray,
    hw: tuple[int, int],
    there_n4: FloatArray,
    rng: Generator,
    cost: Callable[[float, float], float],
    more_come: bool = False,
) -> tuple[float, float] | None:
    """A centre for a box of these sides beside those that are there: of the `BEST` places by
    overlap the cheapest; None where the cost of all of them is infinite.

    `more_come`: what is there is only the first part of a layout, so that only overlaps with
    earlier objects count.
    """
    share = _share(limits.weights)
    model = int(rng.choice(len(share), p=share))
    wanted = (limits.earlier_n if more_come else limits.overlaps_n)[model]
    near = limits.places_n2[rng.choice(len(share), CANDIDATES, p=share)]
    wh = np.array([hw[1], hw[0]], np.float64)
    centres = (near + rng.normal(0, JITTER, (CANDIDATES, 2))) * wh
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    seen = np.clip(boxes, 0, np.tile(wh, 2))
    visible = areas(seen) / max(float(sides.prod()), 1e-6)
    miss = np.zeros(CANDIDATES)
    if len(there_n4):
        miss = np.abs(overlaps(seen, there_n4).max(axis=1) - wanted)
    miss += (visible > 1 - 1e-9) != limits.whole_n[model]
    miss[visible < IN_SIGHT] = np.inf
    best, least = None, np.inf
    for k in np.argsort(miss, kind="stable")[:BEST]:
        x, y = round(float(centres[k, 0]), 1), round(float(centres[k, 1]), 1)
        here = cost(x, y) if np.isfinite(miss[k]) else np.inf
        if here < least:
            best, least = (x, y), here
        if least <= 0:
            break
    return best
