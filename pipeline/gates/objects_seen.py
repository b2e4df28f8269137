"""Labels held against what a detector finds, object by object.

A detector misses objects in real pictures, too, and no label says what it sees that nobody
labelled: what it finds in the source is the yardstick. Where an object lies in both pictures with
the same box and class, and the pixels are `aligned`, it is expected if the detector found it in the
source. Any other object, moved, pasted or drawn anew, has no counterpart there: of its class the
share is expected that was found in the source; all of them where the source has none.

What is found where no label is near is an extra. One that lies on an extra of the source is nothing
new, where the pixels are aligned; where they are not, the source's extras are counted instead. An
object that was to be removed and is still seen is an extra, and its label in the source no excuse.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.detection.agreement import matched
from pipeline.geometry import iou
from pipeline.model import Detections
from schemas.sample import BoolArray, FloatArray, Instances

NEAR: Final = 0.2
"""IoU from which on a detection belongs to a label, or two detections to the same thing, whatever
the class and however badly the box fits."""


@dataclass(frozen=True)
class ObjectSeen:
    """One label of the sample: whether it was found, and how surely (0 to 1) it had to be.
    `counterpart`: its position in the source, None where it has none.
    """

    label: str
    found: bool
    expected: float
    counterpart: int | None

    @property
    def lost(self) -> bool:
        """Found in the source, and no more. Of those without a counterpart only their number says
        something.
        """
        return self.counterpart is not None and self.expected > 0 and not self.found


@dataclass(frozen=True, eq=False)
class Seen:
    """A sample as the detector sees it: every label, and every detection without one that is new,
    of which so many are `excused`.
    """

    objects: tuple[ObjectSeen, ...]
    extras: Detections
    excused: int = 0

    @property
    def agreed(self) -> float:
        """The share of the expected labels that were found; 1 where none is expected."""
        paired = [one for one in self.objects if one.counterpart is not None]
        expected = sum(one.expected for one in paired)
        found = sum(one.expected for one in paired if one.found)
        others: dict[str, list[ObjectSeen]] = defaultdict(list)
        for one in self.objects:
            if one.counterpart is None:
                others[one.label].append(one)
        for ones in others.values():
            wanted = sum(one.expected for one in ones)
            expected += wanted
            found += min(wanted, sum(one.found for one in ones))
        return round(found / expected, 9) if expected else 1.0  # thrice 2/3 is not quite 2

    @property
    def invented(self) -> int:
        """How many objects are there that no label knows, nor the source."""
        return max(0, len(self.extras) - self.excused)


@dataclass(frozen=True, eq=False)
class Picture:
    """Labels of one image, and what was found in it."""

    objects: Instances
    found: Detections


def compare(source: Picture, sample: Picture, min_iou: float, aligned: bool) -> Seen:
    """How the sample is seen, with its source as the yardstick."""
    in_source = matched(source.objects, source.found, min_iou)
    in_sample = matched(sample.objects, sample.found, min_iou)
    pairs = _counterparts(source.objects, sample.objects) if aligned else {}
    shares = _shares(source.objects.labels, in_source)
    objects = []
    for i, label in enumerate(sample.objects.labels):
        j = pairs.get(i)
        expected = shares.get(label, 1.0) if j is None else float(in_source[j])
        objects.append(ObjectSeen(label, bool(in_sample[i]), expected, j))
    before, after = _extras(source), _extras(sample)
    if not aligned:
        return Seen(tuple(objects), after, len(before))
    return Seen(tuple(objects), _away_from(after, before.boxes_n4))


def _counterparts(source: Instances, sample: Instances) -> Mapping[int, int]:
    """Per object of the sample the one of the source with the same box and class, each once."""
    places: dict[tuple[str, tuple[float, ...]], list[int]] = defaultdict(list)
    for j in reversed(range(len(source))):
        places[source.labels[j], tuple(source.boxes_n4[j].tolist())].append(j)
    pairs = {}
    for i, label in enumerate(sample.labels):
        same = places[label, tuple(sample.boxes_n4[i].tolist())]
        if same:
            pairs[i] = same.pop()
    return pairs


def _shares(labels: Sequence[str], found_n: BoolArray) -> Mapping[str, float]:
    """Per class, which share of the source's objects was found."""
    total = Counter(labels)
    found = Counter(label for label, hit in zip(labels, found_n, strict=True) if hit)
    return {label: found[label] / n for label, n in total.items()}


def _extras(picture: Picture) -> Detections:
    """What was found where no label of any class is near."""
    return _away_from(picture.found, picture.objects.boxes_n4)


def _away_from(found: Detections, boxes_n4: FloatArray) -> Detections:
    overlap = iou(found.boxes_n4, boxes_n4).max(axis=1, initial=0)
    return found.take([i for i in range(len(found)) if overlap[i] < NEAR])
