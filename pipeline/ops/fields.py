"""Fields that several ops share."""

from __future__ import annotations

from typing import Annotated

from numpy.random import Generator
from pydantic import AfterValidator, BeforeValidator, Field

Unit = Annotated[float, Field(ge=0, le=1)]


def _pair(value: object) -> object:
    return (
        (value, value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    )


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"the range runs backwards; write [{value[1]}, {value[0]}]")
    return value


Range = Annotated[tuple[Unit, Unit], BeforeValidator(_pair), AfterValidator(_ordered)]
"""`[low, high]` within 0 and 1, drawn from evenly; or one number."""

Steps = Annotated[int, Field(ge=1, le=1000)]
"""Reverse steps of a sampler."""

Guidance = Annotated[float, Field(ge=0, le=20)]
"""0 ignores the labels, 1 follows them as learnt, more exaggerates them at twice the cost."""


def uniform(rng: Generator, bounds: tuple[float, float]) -> float:
    """A number from a Range."""
    return float(rng.uniform(*bounds))
