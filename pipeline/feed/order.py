"""In which order samples come, and which rank and batch they are in: numbers, no samples.

All of it depends on seed and epoch by name (`pipeline.seeds`): every rank and every worker works it
out for itself, and comes to the same.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.seeds import rng_for

Order = NDArray[np.int64]

Uneven = Literal["keep", "repeat", "drop"]
"""What becomes of samples that do not fill a batch on every rank."""


def shuffled(n: int, seed: int, epoch: int) -> Order:
    """Every number below n, once."""
    return rng_for(seed, "epoch", epoch, "order").permutation(n).astype(np.int64)


def dealt(n: int, first: int, count: int, seed: int, name: str) -> Order:
    """Cards `first` to `first + count` of an endless row of shuffled decks of n: each number comes
    once before one comes again.
    """
    decks = range(first // n, -(-(first + count) // n)) if count else range(0)
    cards = [rng_for(seed, name, deck, "deck").permutation(n) for deck in decks]
    start = first % n if count else 0
    return np.concatenate([*cards, np.zeros(0, np.int64)])[start : start + count].astype(np.int64)


def places(n: int, rank: int, ranks: int, batch: int, uneven: Uneven) -> Order:
    """The places of an epoch's order that are this rank's, one stretch of it.

    `keep`: every place on exactly one rank; ranks differ by one sample at most. `repeat` the first
    places at the end, or `drop` some: all ranks have equally many full batches.
    """
    full = ranks * batch
    total = {"keep": n, "repeat": -(-n // full) * full, "drop": n // full * full}[uneven]
    return np.arange(total * rank // ranks, total * (rank + 1) // ranks)
