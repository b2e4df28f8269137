"""Models that run out of memory, or return no numbers, or black pictures."""

from __future__ import annotations

from random import Random

from tests.chaos.arena import Arena
from tests.chaos.laws import Terms
from tests.chaos.orders import Order
from tests.chaos.stage import Stage

BLANK = ("black_output",)
"""The slugs with which pictures without anything in them fail."""


def out_of_memory(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """Batches above a size do not fit, from a seeded pass on: halved, and nothing fails."""
    over, nth = rng.randint(1, 3), rng.randint(1, 20)
    stage.orders.give(Order("oom", "denoise", "", "oom", nth=nth, times=10**6, over=over))
    return _goes_on(stage, excused=())


def no_memory_at_all(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """For some passes nothing fits: some samples fail by name, the others are as they should."""
    nth, times = rng.randint(1, 20), rng.randint(4, 10)
    stage.orders.give(Order("oom", "denoise", "", "oom", nth=nth, times=times, over=0))
    return _goes_on(stage, excused=("out_of_memory",))


def not_a_number(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """Some passes return NaN."""
    nth, times = rng.randint(1, 20), rng.randint(1, 10)
    stage.orders.give(Order("nan", "denoise", "", "nan", nth=nth, times=times))
    return _goes_on(stage, excused=("not_finite",))


def black(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """Some passes return what becomes a black picture."""
    nth, times = rng.randint(1, 20), rng.randint(3, 10)
    stage.orders.give(Order("black", "denoise", "", "black", nth=nth, times=times))
    return _goes_on(stage, excused=BLANK)


def _goes_on(stage: Stage, excused: tuple[str, ...]) -> Terms:
    ended = stage.run()
    if ended.code != 0:
        stage.wrong.append(f"a sick model ended the run with {ended.code}")
    stage.faults += len(stage.orders.fired())
    return Terms(excused=excused, same_bytes=False)
