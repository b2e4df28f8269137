"""A chunk between its stages: every source sample as it was read, and how far its copies are.

A stage decodes the sources again: their encoded bytes are small beside pixels, and a quarantine
wants them as they are. Of a copy travels what ops have made of it; one that no op has touched yet
is its source.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from pipeline.chain.woven import Copy
from pipeline.op import Outcome
from pipeline.recipe import FullRecipe
from pipeline.source.plan import EncodedSample
from schemas.index import AppliedOp
from schemas.sample import Sample


@dataclass(frozen=True)
class State:
    """What became of one copy so far. `now` is None while it is still its source."""

    copy: int
    now: Outcome | None = None
    ops: tuple[AppliedOp, ...] = ()
    moved: bool = False
    new_picture: bool = False


@dataclass(frozen=True)
class UnderWay:
    """A source sample and its copies; one without copies is there to be looked at by others."""

    encoded: EncodedSample
    copies: tuple[State, ...]


def begun(
    encoded: Sequence[EncodedSample],
    recipe: FullRecipe,
    only: Collection[tuple[str, int]] | None = None,
) -> list[UnderWay]:
    """A chunk before its first op. `only`: the (key, copy) pairs that are wanted, whatever was
    planned: a replay knows its row and not the plan of the chunk.
    """
    return [
        UnderWay(item, tuple(State(copy) for copy in _copies(item, recipe, only)))
        for item in encoded
    ]


def _copies(
    item: EncodedSample, recipe: FullRecipe, only: Collection[tuple[str, int]] | None
) -> Sequence[int]:
    if only is not None:
        return sorted({copy for key, copy in only if key == item.key})
    return range(recipe.copies) if item.copies is None else item.copies


def attempted(items: Sequence[UnderWay]) -> int:
    """How many copies there are."""
    return sum(len(item.copies) for item in items)


def copies_of(items: Sequence[UnderWay], sources: Sequence[Outcome]) -> list[Copy]:
    """The copies in order, each with its source decoded."""
    return [
        _copy(item.encoded, source, state)
        for item, source in zip(items, sources, strict=True)
        for state in item.copies
    ]


def _copy(encoded: EncodedSample, source: Outcome, state: State) -> Copy:
    if isinstance(source, Sample):
        source = replace(source, lineage=replace(source.lineage, copy=state.copy))
    now = source if state.now is None else state.now
    return Copy(encoded, state.copy, source, now, state.ops, state.moved, state.new_picture)


def parted(items: Sequence[UnderWay], copies: Sequence[Copy]) -> list[UnderWay]:
    """The inverse of `copies_of`: the samples, with their copies as they are now."""
    states = iter([_state(copy) for copy in copies])
    return [replace(item, copies=tuple(next(states) for _ in item.copies)) for item in items]


def _state(copy: Copy) -> State:
    now = None if copy.now is copy.source else copy.now
    return State(copy.copy, now, copy.ops, copy.moved, copy.new_picture)
