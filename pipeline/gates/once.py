"""Copies of one source share its pixels: what is to be known of these is found out once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from schemas.sample import Sample

T = TypeVar("T")


def once_each(samples: Sequence[Sample], look: Callable[[Sequence[Sample]], list[T]]) -> list[T]:
    """What `look` finds for each sample; one of the same image is not looked at again."""
    different = {id(sample.image_hwc): sample for sample in samples}
    seen = dict(zip(different, look(list(different.values())), strict=True))
    return [seen[id(sample.image_hwc)] for sample in samples]
