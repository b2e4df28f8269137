"""Which members of a sample are read, and what already their names and sizes show wrong.

What is wrong fails the sample alone, when it is decoded:

    missing_image, two_images    not exactly one member is an image
    duplicate_member             two members have the same suffix
    member_too_large             above the limit of its kind; nothing of the sample is read
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.source.shards import SampleRef, suffix_of
from schemas.index import Member
from schemas.recipe import Source

MAX_IMAGE: Final = 192 * 1024 * 1024
"""Bytes of an image file: 64 million pixels, uncompressed."""

MAX_LABELS: Final = 16 * 1024 * 1024
MAX_SEGMENTATION: Final = 64 * 1024 * 1024

PROBLEMS: Final = frozenset({"missing_image", "two_images", "duplicate_member", "member_too_large"})


@dataclass(frozen=True)
class Pick:
    """The members of one sample that are read, by their suffix, and what is wrong with it."""

    key: str
    members: dict[str, Member]
    image: str | None
    labels: str | None
    segmentation: str | None
    problem: tuple[str, str] | None

    @property
    def labels_member(self) -> Member | None:
        """Where the labels file lies."""
        return None if self.labels is None else self.members.get(self.labels)


def pick_members(sample: SampleRef, source: Source) -> Pick:
    """What is read of this sample."""
    by_suffix: dict[str, Member] = {}
    for member in sample.members:
        by_suffix.setdefault(suffix_of(member), member)
    others = source.labels, source.segmentation
    images = [suffix for suffix in source.image if suffix in by_suffix and suffix not in others]
    labels, segmentation = (suffix if suffix in by_suffix else None for suffix in others)
    limits = dict.fromkeys(images[:1], MAX_IMAGE)
    limits |= {labels: MAX_LABELS} if labels is not None else {}
    limits |= {segmentation: MAX_SEGMENTATION} if segmentation is not None else {}
    members = {suffix: by_suffix[suffix] for suffix in limits}
    problem = _problem(sample, images, source)
    for suffix, limit in limits.items():
        if (large := members[suffix]).size > limit:
            problem = "member_too_large", f"{large.name}: {large.size} bytes, {limit} at most"
            members = {}
            break
    return Pick(sample.key, members, images[0] if images else None, labels, segmentation, problem)


def _problem(sample: SampleRef, images: Sequence[str], source: Source) -> tuple[str, str] | None:
    suffixes = [suffix_of(member) for member in sample.members]
    twice = next((suffix for suffix in suffixes if suffixes.count(suffix) > 1), None)
    if twice is not None:
        return "duplicate_member", f"more than one .{twice}"
    if len(images) == 1:
        return None
    slug = "two_images" if images else "missing_image"
    return slug, f"has {', '.join(sorted(suffixes))}; one of {', '.join(source.image)}"
