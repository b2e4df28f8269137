"""What a format has to do: take one sample after the other, and finish."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from schemas.sample import Sample


@dataclass(frozen=True)
class ClassNames:
    """The classes of boxes and of class-id maps, in the order of their numbers; the split."""

    classes: tuple[str, ...]
    seg_classes: tuple[str, ...]
    split: str


@dataclass
class Tally:
    """What was written, and what the format could not say, by a sentence about it."""

    images: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


class Writer(Protocol):
    """Writes samples into a folder."""

    def add(self, name: str, image: bytes, sample: Sample) -> Sequence[str]:
        """Writes one sample under this name, its suffix still to come; what could not be said."""

    def finish(self) -> None:
        """Writes what comes last."""

    def close(self) -> None:
        """Lets go of what is open, finished or not."""


def put(path: Path, data: bytes | str) -> None:
    """A new file, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())
