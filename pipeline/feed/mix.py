"""Real and augmented samples in one training set, in a share that is fixed or changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Generic, Literal, Protocol, TypeVar

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from pipeline.feed.order import Order, dealt
from schemas.errors import RecipeError
from schemas.recipe import digest_of

TargetT = TypeVar("TargetT")
TargetT_co = TypeVar("TargetT_co", covariant=True)

Schedule = Literal["fixed", "linear", "cosine"]

_PROGRESS: Final[dict[Schedule, Callable[[float], float]]] = {
    "fixed": lambda done: 0.0,
    "linear": lambda done: done,
    "cosine": lambda done: (1 - math.cos(math.pi * done)) / 2,
}


class Numbered(Protocol[TargetT_co]):
    """What can be streamed: samples by number, and the order of an epoch."""

    @property
    def local(self) -> bool:
        """Whether all is on this machine's disk."""

    @property
    def digest(self) -> str:
        """Of what is in it, and in which order."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> tuple[Tensor, TargetT_co]: ...

    def order(self, seed: int, epoch: int) -> Order:
        """The samples of an epoch, by number."""


class Classed(Numbered[TargetT_co], Protocol[TargetT_co]):
    """Samples whose classes have numbers."""

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of their numbers."""


class Mix(Dataset[tuple[Tensor, TargetT]], Generic[TargetT]):
    """`ratio` of an epoch's samples are augmented, spread evenly over it, so that all batches have
    about that share; the others are real.

    An epoch has `length` samples, as many as there are real ones if that is left out. Of each kind,
    every sample comes once before one comes again, over the epochs. With `schedule` linear or
    cosine, the share goes from `ratio` in the first epoch to `end` in the last of `epochs`.
    """

    def __init__(
        self,
        real: Classed[TargetT],
        augmented: Classed[TargetT],
        ratio: float,
        schedule: Schedule = "fixed",
        *,
        epochs: int | None = None,
        end: float = 0.0,
        length: int | None = None,
    ) -> None:
        self._parts = real, augmented
        self.length = len(real) if length is None else length
        self._ratio, self._end, self._schedule, self._epochs = ratio, end, schedule, epochs
        if not (0 <= ratio <= 1 and 0 <= end <= 1):
            raise RecipeError(f"mix: ratio {ratio} and end {end} are shares, from 0 to 1")
        if schedule != "fixed" and (epochs is None or epochs < 2):
            raise RecipeError(f"mix: schedule {schedule} goes over `epochs`, 2 at least: {epochs}")
        if real.classes != augmented.classes:
            both = f"{', '.join(real.classes)} and {', '.join(augmented.classes)}"
            raise RecipeError(f"mix: the classes are numbered differently: {both}")
        for part, shares, name in (
            (real, (1 - ratio, 1 - self.share(10**9)), "real"),
            (augmented, (ratio, self.share(10**9)), "augmented"),
        ):
            if max(shares) > 0 and not len(part):
                raise RecipeError(f"mix: there are no {name} samples")
        self.classes = real.classes

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def __getitem__(self, i: int) -> tuple[Tensor, TargetT]:
        real, augmented = self._parts
        return real[i] if i < len(real) else augmented[i - len(real)]

    @property
    def local(self) -> bool:
        """Whether all is on this machine's disk."""
        return all(part.local for part in self._parts)

    @property
    def digest(self) -> str:
        """Of both parts, and of how they are mixed."""
        how = [self._ratio, self._end, self._schedule, self._epochs, self.length]
        return digest_of([*(part.digest for part in self._parts), *how])

    def share(self, epoch: int) -> float:
        """Of augmented samples in this epoch, counted from 0."""
        done = min(1.0, epoch / max(1, (self._epochs or 2) - 1))
        return self._ratio + (self._end - self._ratio) * _PROGRESS[self._schedule](done)

    def order(self, seed: int, epoch: int) -> Order:
        """The samples of an epoch: the numbers from `len(real)` on are augmented ones."""
        real, augmented = self._parts
        n = self._augmented(epoch)
        before = sum(self._augmented(e) for e in range(epoch))
        ends = np.arange(self.length + 1) * n // max(self.length, 1)
        is_augmented = ends[1:] > ends[:-1]
        out = np.empty(self.length, np.int64)
        out[is_augmented] = dealt(len(augmented), before, n, seed, "augmented") + len(real)
        past = epoch * self.length - before
        out[~is_augmented] = dealt(len(real), past, self.length - n, seed, "real")
        return out

    def _augmented(self, epoch: int) -> int:
        return round(self.length * self.share(epoch))
