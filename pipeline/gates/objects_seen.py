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
from pipeline.gates.once import once_each
from pipeline.labels.geometry import iou
from pipeline.model import Detections, Detector
from schemas.sample import BoolArray, FloatArray, Instances, Sample

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
    of which so many are `excused`. `aligned`: whether its pixels have counterparts in the source.
    `blind`: the model could not look at it.
    """

    objects: tuple[ObjectSeen, ...]
    extras: Detections
    aligned: bool
    excused: int = 0
    blind: bool = False

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


class DetectorsEye:
    """A detector that has looked at the sources."""

    def __init__(
        self,
        sources: Sequence[Sample],
        aligned: Sequence[bool],
        model: Detector,
        min_iou: float,
    ) -> None:
        found = once_each(sources, lambda different: _sure(different, model))
        pictures = zip(sources, found, strict=True)
        self._sources = [Picture(source.objects, one) for source, one in pictures]
        self._aligned, self._model, self._min_iou = aligned, model, min_iou

    def see(self, places: Sequence[int], samples: Sequence[Sample]) -> list[Seen]:
        """The samples at these places, each against its source."""
        found = _sure(samples, self._model)
        return [
            compare(self._sources[i], Picture(sample.objects, one), self._min_iou, self._aligned[i])
            for i, sample, one in zip(places, samples, found, strict=True)
        ]


def _sure(samples: Sequence[Sample], model: Detector) -> list[Detections]:
    return model.sure([sample.rgb_hwc for sample in samples]) if samples else []


def compare(source: Picture, sample: Picture, min_iou: float, aligned: bool) -> Seen:
    """How the sample is seen, with its source as the yardstick."""
    in_source = source.objects, matched(source.objects, source.found, min_iou)
    in_sample = sample.objects, matched(sample.objects, sample.found, min_iou)
    objects = held_against(in_source, in_sample, aligned)
    before, after = _extras(source), _extras(sample)
    if not aligned:
        return Seen(objects, after, aligned, len(before))
    return Seen(objects, _away_from(after, before.boxes_n4), aligned)


def held_against(
    source: tuple[Instances, BoolArray], sample: tuple[Instances, BoolArray], aligned: bool
) -> tuple[ObjectSeen, ...]:
    """The objects of the sample, and which were found; what to expect of them says the source."""
    (before, in_source), (after, in_sample) = source, sample
    pairs = _counterparts(before, after) if aligned else {}
    shares = _shares(before.labels, in_source)
    objects = []
    for i, label in enumerate(after.labels):
        j = pairs.get(i)
        expected = shares.get(label, 1.0) if j is None else float(in_source[j])
        objects.append(ObjectSeen(label, bool(in_sample[i]), expected, j))
    return tuple(objects)


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
