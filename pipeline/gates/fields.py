"""Types of fields that gates share."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"the lower bound {bounds[0]:g} is above the upper bound {bounds[1]:g}")
    return bounds


Range = Annotated[tuple[float, float], AfterValidator(_ascending)]
"""[lowest, highest], both allowed."""


def outside(value: float, bounds: Range) -> bool:
    """Whether a score does not lie in a range."""
    return not bounds[0] <= value <= bounds[1]
