"""What an experiment says: a table with targets, and pictures beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from PIL import Image

from schemas.spec import Spec

T = TypeVar("T")


class Track(Protocol):
    """Goes through items and shows how far it is: rich's `track`, or `quietly`."""

    def __call__(self, items: Sequence[T], what: str) -> Iterable[T]:
        """The items, one after the other."""


def quietly(items: Sequence[T], what: str) -> Iterable[T]:
    """No progress shown."""
    return items


class Value(Spec):
    """A number, its standard error over the `n` that it is the mean of; no error for a number
    that is no mean of independent ones.
    """

    mean: float
    error: float | None = None
    n: int

    def __str__(self) -> str:
        error = "" if self.error is None else f" ± {_short(self.error)}"
        return f"{_short(self.mean)}{error}"


def _short(number: float) -> str:
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    digits = max(0, min(4, 2 - math.floor(math.log10(abs(number)))))
    return f"{number:.{digits}f}"


def mean_of(values: Sequence[float]) -> Value | None:
    """Mean and standard error; None of nothing."""
    if not values:
        return None
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return Value(mean=float(np.mean(values)), error=error, n=len(values))


def share_of(hits: int, n: int) -> Value | None:
    """A share and its standard error (Agresti and Coull 1998: not 0 for none of ten)."""
    if n == 0:
        return None
    p = (hits + 2) / (n + 4)
    return Value(mean=hits / n, error=float(np.sqrt(p * (1 - p) / (n + 4))), n=n)


class Row(Spec):
    """One line of a table."""

    name: str
    values: tuple[Value | None, ...]


class Check(Spec):
    """A target, what was reached, and whether that is enough."""

    says: str
    reached: float
    met: bool


def at_least(says: str, reached: float, target: float) -> Check:
    """`says` ends where the target's number follows."""
    return Check(says=f"{says} at least {target:g}", reached=reached, met=reached >= target)


def at_most(says: str, reached: float, target: float) -> Check:
    """`says` ends where the target's number follows."""
    return Check(says=f"{says} at most {target:g}", reached=reached, met=reached <= target)


class Table(Spec):
    """One experiment. `note` says what the columns are and how they were measured."""

    part: str
    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Result:
    """A table and its pictures by caption."""

    table: Table
    pictures: dict[str, Image.Image] = field(default_factory=dict)
