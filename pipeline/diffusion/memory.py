"""Batches that fit into memory: when it runs out the batch is halved, and stays so for this model.

An image that does not fit even alone fails by name, `out_of_memory`; one that fails in company is
tried once more alone before it counts as failed. The noise is each sample's own, so that what is
drawn does not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

import torch

from pipeline import metering
from pipeline.diffusion.buckets import Shape, batches, cost
from schemas.errors import SampleError

T = TypeVar("T")
Make = Callable[[Shape, Sequence[int]], Sequence[T | SampleError]]
"""(bucket, positions) -> one result or one SampleError per position."""

_limits: Final[WeakKeyDictionary[object, int]] = WeakKeyDictionary()
"""Pixels of a batch, for the models that ran out of memory."""


def made_in_batches(
    model: object, shapes: Sequence[Shape], multiple: int, pixels: int, make: Make[T]
) -> list[T | SampleError]:
    """What `make` gives for images of these shapes, in batches of at most `pixels`."""
    results: dict[int, T | SampleError] = {}
    waiting = list(range(len(shapes)))
    while waiting:
        limit = min(pixels, _limits.get(model, pixels))
        there = [shapes[i] for i in waiting]
        shape, places = next(batches(there, multiple, limit))
        batch = [waiting[place] for place in places]
        made = _made(make, shape, batch)
        if made is None:
            metering.halved(model)
            _limits[model] = len(batch) // 2 * cost(shape)
            continue
        metering.batched(model, batch)
        results.update(zip(batch, made, strict=True))
        waiting = [i for i in waiting if i not in results]
    return [results[i] for i in range(len(shapes))]


def _made(make: Make[T], shape: Shape, batch: Sequence[int]) -> Sequence[T | SampleError] | None:
    """One batch; None where it has to be smaller."""
    made = _unless_out_of_memory(make, shape, batch)
    if len(batch) == 1:
        what = f"not even one image of {shape[1]}x{shape[0]} pixels fits into the device's memory"
        return [SampleError("out_of_memory", what)] if made is None else made
    if made is None:
        return None
    return [
        _alone(make, shape, i) if isinstance(one, SampleError) else one
        for i, one in zip(batch, made, strict=True)
    ]


def _alone(make: Make[T], shape: Shape, position: int) -> T | SampleError:
    (made,) = _made(make, shape, [position]) or ()
    return made


def _unless_out_of_memory(
    make: Make[T], shape: Shape, batch: Sequence[int]
) -> Sequence[T | SampleError] | None:
    try:
        return make(shape, batch)
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is the latter
        if not _is_out_of_memory(error):
            raise
    # Outside of the except block: the error's traceback held the tensors of the failed batch.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _is_out_of_memory(error: Exception) -> bool:
    """On a CPU torch has no error of its own for it."""
    typed = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return typed or "DefaultCPUAllocator" in str(error)
