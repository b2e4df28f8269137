"""An MLflow server that is away: not there at all, silent, or gone in the middle of a run."""

from __future__ import annotations

from random import Random
from typing import Final

from schemas.recipe import Tracking
from tests.chaos.arena import Arena
from tests.chaos.laws import Terms
from tests.chaos.stage import Stage
from tests.jobs.mlflow_look import only_run
from tests.jobs.workplace import CHUNKS, COPIES, SAMPLES

ADDED_S: Final = 30


def refused(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """Nobody listens from the start."""
    arena.mlflow.kill()
    stage.faults += 1
    try:
        _held_up(arena, stage, stage.run().seconds)
    finally:
        arena.mlflow.start()
    return _sent_later(arena, stage)


def hung(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """From a seeded commit on the server takes every request and answers none."""
    wanted = rng.randint(0, CHUNKS - 1)
    started = stage.start()
    started.until(lambda: stage.committed() >= wanted or stage.done())
    arena.mlflow.hang()
    stage.faults += started.process.poll() is None
    try:
        _held_up(arena, stage, started.wait().seconds)
    finally:
        arena.mlflow.go_on()
    return _sent_later(arena, stage)


def gone(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """The server is killed at a seeded commit; sometimes it is back before the run ends."""
    wanted = rng.randint(0, CHUNKS - 1)
    started = stage.start()
    started.until(lambda: stage.committed() >= wanted or stage.done())
    arena.mlflow.kill()
    stage.faults += started.process.poll() is None
    try:
        if rng.random() < 0.3:
            arena.mlflow.start()
        _held_up(arena, stage, started.wait().seconds)
    finally:
        arena.mlflow.kill()
        arena.mlflow.start()
    return _sent_later(arena, stage)


def _held_up(arena: Arena, stage: Stage, seconds: float) -> None:
    """Busy machines are slow: half of what a run takes is no finding."""
    _, usual_s = arena.undisturbed(stage.kind)
    if seconds > 1.5 * usual_s + ADDED_S:
        stage.wrong.append(f"a run that takes {usual_s:.0f} s took {seconds:.0f} without MLflow")


def _sent_later(arena: Arena, stage: Stage) -> Terms:
    """The next command reaches MLflow, and everything is there."""
    ended = stage.run()
    if ended.code != 0:
        stage.wrong.append(f"the command after MLflow was away ended with {ended.code}")
    tracking = Tracking(uri=arena.mlflow.uri, experiment=stage.name)
    _, run = only_run(tracking)
    found = run.data.metrics.get("kept"), run.info.status
    if found != (SAMPLES * COPIES, "FINISHED"):
        stage.wrong.append(f"MLflow has {found[0]} kept copies of a run that is {found[1]}")
    return Terms()
