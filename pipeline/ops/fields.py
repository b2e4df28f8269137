"""Fields that several ops share."""

from __future__ import annotations

from typing import Annotated

from numpy.random import Generator
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from pipeline.labels.regions import Protect
from schemas.recipe import Names

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

Classes = Annotated[
    Names | None, Field(description="objects that the op may touch, by class; null: all")
]
"""Which objects an op may touch, by their class; null means all of them. The pixels of all others
come out bit-identical, also where they overlap with those that it may touch."""


def free_classes(classes: Classes, info: ValidationInfo) -> Classes:
    """A validator of `classes` beside a `protect` that stands before it: `objects` leaves none of
    them to touch.
    """
    protect: Protect | None = info.data.get("protect")
    if classes is not None and protect == "objects":
        raise ValueError(
            "these objects may be touched, but protect: objects says that none may; "
            "leave one of the two out"
        )
    return classes


def uniform(rng: Generator, bounds: tuple[float, float]) -> float:
    """A number from a Range."""
    return float(rng.uniform(*bounds))
