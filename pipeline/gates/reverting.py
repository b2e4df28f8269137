"""Objects that an augmentation lost, and others that it invented: the source's pixels of their
places, where they can be had, and another look at what became of it.

An object is put back where the picture is aligned with its source and the object has its
counterpart there, with the same box and class; what was invented, where it is aligned. Not where
that would change a pixel of an object that the source does not have there (pasted, moved), or of
one of the source that is labelled no more: it would hide the one, and bring the other back; and not
where it would show (`Place.blends`). Labels never change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from pipeline.gates.objects_seen import Seen
from pipeline.gates.putting_back import Place, put_back
from pipeline.labels.regions import box_region, object_region
from schemas.sample import BoolArray, ByteArray, Sample


class Eye(Protocol):
    """Looks at samples, with their sources as the yardstick."""

    def see(self, places: Sequence[int], samples: Sequence[Sample]) -> list[Seen]:
        """The samples at these places among those that it was made for, as they are now."""


@dataclass(frozen=True, eq=False)
class Outlook:
    """A sample as it is seen in the end; `image_hwc` is what it became where `reverted` places,
    none by default, were put back.
    """

    seen: Seen
    image_hwc: ByteArray | None = None
    reverted: int = 0

    @property
    def share(self) -> float:
        """How much of what was to be seen is the source's again: places among the objects."""
        return min(1.0, self.reverted / max(1, len(self.seen.objects)))


def looked_at(
    eye: Eye, sources: Sequence[Sample], samples: Sequence[Sample], revert: bool
) -> list[Outlook]:
    """Every sample as the eye sees it; what is put back is looked at again."""
    first = eye.see(range(len(samples)), samples)
    if not revert:
        return [Outlook(seen) for seen in first]
    mended = [reverted(*one) for one in zip(sources, samples, first, strict=True)]
    again = [i for i, (_, count) in enumerate(mended) if count]
    second = dict(zip(again, eye.see(again, [mended[i][0] for i in again]), strict=True))
    return [
        Outlook(second[i], sample.rgb_hwc, count) if count else Outlook(seen)
        for i, (seen, (sample, count)) in enumerate(zip(first, mended, strict=True))
    ]


def reverted(source: Sample, sample: Sample, seen: Seen) -> tuple[Sample, int]:
    """The sample with all that can be put back, and how many places that are."""
    if not seen.aligned:
        return sample, 0
    others = _of_one_picture_only(source, sample, seen)
    images = source.rgb_hwc, sample.rgb_hwc
    places = [
        place
        for place in (Place.of(core) for core in _cores(sample, seen) if core.any())
        if not place.touches(others) and place.blends(*images)
    ]
    if not places:
        return sample, 0
    return replace(sample, image_hwc=put_back(*images, places)), len(places)


def _cores(sample: Sample, seen: Seen) -> Iterator[BoolArray]:
    for i, one in enumerate(seen.objects):
        if one.lost:
            yield object_region(sample, i)
    for box in seen.extras.boxes_n4:
        yield box_region(box, (sample.height, sample.width))


def _of_one_picture_only(source: Sample, sample: Sample, seen: Seen) -> BoolArray:
    """The pixels of the objects that have no counterpart in the other picture."""
    region = np.zeros((sample.height, sample.width), bool)
    for i, one in enumerate(seen.objects):
        if one.counterpart is None:
            region |= object_region(sample, i)
    paired = {one.counterpart for one in seen.objects}
    for j in range(len(source.objects)):
        if j not in paired:
            region |= object_region(source, j)
    return region
