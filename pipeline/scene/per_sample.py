"""What is worked out once per sample, and forgotten with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from schemas.sample import Sample

T = TypeVar("T")


def per_sample(function: Callable[[Sample], T]) -> Callable[[Sample], T]:
    """`function`, called once for every sample, which is a value: the result is kept as long as the
    sample lives. It must not hold the sample itself.
    """
    known: WeakKeyDictionary[Sample, T] = WeakKeyDictionary()

    @wraps(function)
    def remembered(sample: Sample) -> T:
        if sample not in known:
            known[sample] = function(sample)
        return known[sample]

    return remembered
