"""Processes that die, at moments that a seed chooses: driver, writer, actor, node."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from random import Random
from typing import Final

from tests.chaos.arena import Arena
from tests.chaos.cluster import busy, raylets, workers
from tests.chaos.laws import Terms
from tests.chaos.orders import Order, Point, When
from tests.chaos.stage import Stage, Started
from tests.jobs.workplace import CHUNKS

PUBLISHING: Final[tuple[tuple[Point, str], ...]] = (
    ("create", r"index/_order/"),
    ("create", r"index/[^/]+\.parquet$"),
    ("link", r"index/_order/[^#]*$"),
    ("link", r"index/[^/#]+\.parquet$"),
    ("delete", r"index/_pending/"),
    ("delete", r"attempts/"),
    ("unlink", r"index/_pending/[^#]*$"),
    ("create", r"runs/[^/]+(?<!\.plan)\.json$"),
)
"""What the driver does once all chunks are there."""

STEPS: Final[tuple[tuple[Point, str], ...]] = (
    ("create", r"attempts/"),
    ("create", r"shards/"),
    ("link", r"/shards/[^#]*$"),
    ("create", r"index/_pending/"),
    ("link", r"/index/_pending/[^#]*$"),
)
"""What a worker does for each chunk."""


def kill_driver_by_commits(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """SIGKILL once so many chunks are committed; sometimes the rerun is killed as well."""
    least = 0
    for _ in range(rng.choice((1, 1, 2))):
        least = rng.randint(least, CHUNKS - 1)
        started = stage.start()
        there = started.until(lambda wanted=least: stage.committed() >= wanted or stage.done())
        _kill(stage, started, there)
    return Terms()


def kill_driver_by_time(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """SIGKILL after a random share of what an undisturbed run takes."""
    _, usual_s = arena.undisturbed(stage.kind)
    started = stage.start()
    over = time.monotonic() + rng.uniform(0.05, 0.75) * usual_s  # the first run of all is slower
    started.until(lambda: time.monotonic() >= over)
    _kill(stage, started, started.process.poll() is None)
    return Terms()


def kill_in_the_publishing(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """The driver dies before or after one of the steps of publishing."""
    point, where = rng.choice(PUBLISHING)
    nth = rng.randint(1, CHUNKS) if point == "unlink" else 1
    when: When = rng.choice(("before", "after"))
    stage.orders.give(Order("publishing", point, where, "kill", when, nth))
    stage.run()
    stage.faults += len(stage.orders.fired())
    return Terms()


def crash_at_a_step(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """The driver dies while a worker is before or after one step of a commit."""
    point, where = rng.choice(STEPS)
    when: When = rng.choice(("before", "after"))
    nth = rng.randint(1, CHUNKS)
    order = Order("step", point, where, "kill_driver", when, nth, seconds=rng.choice((0, 0.5)))
    stage.orders.give(order)
    stage.run()
    stage.faults += len(stage.orders.fired())
    return Terms()


def kill_writer(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """A worker dies at one step of a commit, up to three times; the run goes on without a word."""
    point, where = rng.choice(STEPS)
    when: When = rng.choice(("before", "after"))
    times = rng.randint(1, 3)
    stage.orders.give(Order("writer", point, where, "kill", when, rng.randint(1, CHUNKS), times))
    _survives(stage)
    stage.faults += len(stage.orders.fired())
    return Terms()


def kill_actor(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """The process with the models dies, in its ops or at any moment."""
    if rng.random() < 0.5:
        when: When = rng.choice(("before", "after"))
        stage.orders.give(Order("actor", "weave", "", "kill", when, rng.randint(1, CHUNKS)))
        _survives(stage)
        stage.faults += len(stage.orders.fired())
        return Terms()
    assert stage.node is not None
    leader = stage.node.process.pid
    stage.orders.give(Order("slow", "weave", "", "sleep", times=CHUNKS, seconds=0.1))
    started = stage.start()
    wanted = rng.randint(0, CHUNKS - 2)
    started.until(lambda: stage.committed() >= wanted and workers(leader, "MapWorker"))
    for pid in workers(leader, "MapWorker"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            stage.faults += 1
    ended = started.wait()
    if ended.code != 0:
        stage.wrong.append(f"a dead actor ended the run with {ended.code}")
    return Terms()


def kill_node(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """One of two nodes is lost at once, with its workers and the blocks that it held."""
    assert stage.second is not None
    second = stage.second
    stage.orders.give(Order("slow", "weave", "", "sleep", times=CHUNKS, seconds=0.3))
    wanted = rng.randint(0, CHUNKS - 3)
    started = stage.start()
    if started.until(lambda: stage.committed() >= wanted and busy(second.process.pid), every=0.1):
        second.kill()
        stage.faults += 1
    ended = started.wait()
    if ended.code != 0:
        stage.wrong.append(f"a lost node ended the run with {ended.code}")
    return Terms()


def kill_raylet(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """The node process beside an embedded driver dies, and Ray ends the driver by `_exit`: the one
    that watches says what to do.
    """
    stage.orders.give(Order("slow", "weave", "", "sleep", times=CHUNKS, seconds=0.3))
    wanted = rng.randint(0, CHUNKS - 3)
    started = stage.start()
    if started.until(lambda: stage.committed() >= wanted and raylets(started.process.pid)):
        for pid in raylets(started.process.pid):
            os.kill(pid, signal.SIGKILL)
            stage.faults += 1
    ended = started.wait()
    if ended.code != 0 and "start the same command again" not in ended.said:
        stage.wrong.append(f"a dead raylet ended the run with {ended.code}, and nobody says so")
    return Terms()


def terminate(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """SIGTERM: over within 30 s."""
    wanted = rng.randint(0, CHUNKS - 1)
    started = stage.start()
    if started.until(lambda: stage.committed() >= wanted):
        asked = time.monotonic()
        started.process.terminate()
        stage.faults += 1
        ended = started.wait()
        if (took := time.monotonic() - asked) > 30:
            stage.wrong.append(f"SIGTERM took {took:.0f} s")
        if "Traceback" in ended.said:
            stage.wrong.append("SIGTERM showed a traceback")
    return Terms()


def killer_sample(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """One sample kills whoever decodes it: found, quarantined, and the rest goes on."""
    key = f"s{rng.randint(0, 1)}{rng.randint(0, 17):02d}"
    stage.orders.give(Order("killer", "decode", f"^{key}$", "kill", times=1000))
    ended = stage.run()
    for _ in range(3):
        if ended.code == 0:
            break
        ended = stage.run()
    if ended.code != 0:
        stage.wrong.append(f"a sample that kills its worker ended the run with {ended.code}")
    stage.faults += len(stage.orders.fired())
    return Terms(excused=("killed_worker",))


def _kill(stage: Stage, started: Started, under_way: bool) -> None:
    ended = started.kill()
    stage.faults += under_way and ended.code == -signal.SIGKILL


def _survives(stage: Stage) -> None:
    ended = stage.run()
    if ended.code != 0:
        stage.wrong.append(f"a dead worker ended the run with {ended.code}")
