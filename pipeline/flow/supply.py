"""What is handed out as it is used up: how a run of any length keeps the driver at one size.

Ray Data wants all read tasks before the first is started, and holds them to the end. A `Supply`
gives it the next chunk when an earlier one is done: never more than `ahead` are under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, TypeVar

from pipeline.source.plan import Chunk

HeldT = TypeVar("HeldT")

LEAST_AHEAD: Final = 256
"""Chunks under way of any run: so many cost little, and no pool finds its queue empty."""

AHEAD_OF_AN_ACTOR: Final = 4
"""One in work, one that waits in the actor, and two on the way to it."""


def ahead_of(at_once: int, actors: int) -> int:
    """How many chunks are under way at most, with so many that are read at once, as many that are
    written, and so many actors in all stages together.
    """
    return max(LEAST_AHEAD, 2 * at_once + AHEAD_OF_AN_ACTOR * actors)


class Supply(Generic[HeldT]):
    """Chunks, one after the other, each held in some form until it is done: of what is under way
    nothing may be dropped, for it may have to be done again.

    One thread takes, another says what is done.
    """

    def __init__(self, chunks: Sequence[Chunk], ahead: int, hold: Callable[[Chunk], HeldT]) -> None:
        self._left: Iterator[Chunk] = iter(chunks)
        self._next = next(self._left, None)
        self._ahead = ahead
        self._hold = hold
        self._held: dict[str, HeldT] = {}
        self.total: int = len(chunks)

    @property
    def exhausted(self) -> bool:
        """Whether the last one has been taken."""
        return self._next is None

    def has_next(self) -> bool:
        """Whether one may be taken now; if not, and not `exhausted`, then when others are done."""
        return self._next is not None and len(self._held) < self._ahead

    def take(self) -> HeldT:
        """The next one. RuntimeError where none may be taken."""
        chunk = self._next
        if chunk is None or not self.has_next():
            raise RuntimeError(f"no chunk may be taken: {len(self._held)} are under way")
        held = self._held[chunk.id] = self._hold(chunk)
        self._next = next(self._left, None)
        return held

    def done(self, chunk_id: str) -> None:
        """Marks a committed one: nobody will ask for it again."""
        self._held.pop(chunk_id, None)
