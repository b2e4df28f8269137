"""More than one at a time on one sink: two runs, a run and `gc`, a run and a process that slept."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from random import Random

from tests.chaos.arena import Arena
from tests.chaos.cluster import session_of
from tests.chaos.laws import Terms
from tests.chaos.orders import Order, Point, When
from tests.chaos.stage import Stage
from tests.jobs.workplace import CHUNKS

OVERLAP = ("train-1", "other-0")
"""What a second run takes of the source; the first one takes `train-*`."""


def same_plan_twice(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """The same run, started twice at the same second, or a little later."""
    first = stage.start()
    time.sleep(rng.choice((0, 0, rng.uniform(0, 4))))
    other = arena.place(stage.kind, stage.place.folder / "other", stage.sink, stage.node)
    second = stage.start(other)
    for ended in (first.wait(), second.wait()):
        if ended.code != 0:
            stage.wrong.append(f"one of two that do the same run ended with {ended.code}")
    stage.faults += 1
    return Terms()


def overlapping_plans(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """Two runs that share a third of their chunks; sometimes one of them is killed."""
    kinds = [replace(stage.kind, shards=shards) for shards in (("train-*",), OVERLAP)]
    rng.shuffle(kinds)
    folder = stage.place.folder
    places = [
        arena.place(kind, folder / f"part-{n}", stage.sink, stage.node)
        for n, kind in enumerate(kinds)
    ]
    runs = [stage.start(place) for place in places]
    if rng.random() < 0.3 and runs[0].until(lambda: stage.committed() >= rng.randint(1, 6)):
        runs[0].kill()
    ended = [run.wait() for run in runs]
    stage.faults += 1
    for place, end in zip(places, ended, strict=True):
        if end.code not in (0, -signal.SIGKILL):
            stage.wrong.append(f"one of two overlapping runs ended with {end.code}")
        again = stage.run(place)
        if again.code != 0:
            stage.wrong.append(f"one of two overlapping runs, again: {again.code}")
    return Terms(same_runs=False)


def gc_during_a_run(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """`noiseloom gc`, again and again, while a run that was killed before goes on."""
    killed = stage.start()
    wanted = rng.randint(1, CHUNKS - 2)
    killed.until(lambda: stage.committed() >= wanted)
    killed.kill()
    stage.orders.give(Order("slow", "create", "/index/", "sleep", times=99, seconds=0.3))
    started = stage.start()
    while started.process.poll() is None:
        swept = stage.place.command("gc", stage.sink)
        stage.faults += 1
        if swept.returncode != 0:
            stage.wrong.append(f"gc beside a run ended with {swept.returncode}: {swept.stderr}")
    ended = started.wait()
    if ended.code != 0:
        stage.wrong.append(f"a run beside gc ended with {ended.code}")
    return Terms()


def zombie_writer(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """A writer is stopped at a step of its commit, its replacement commits, and it goes on."""
    point: Point = rng.choice(("create", "link"))
    where = rng.choice(("/shards/[^#]*$", "/index/_pending/[^#]*$"))
    when: When = rng.choice(("before", "after"))
    stage.orders.give(Order("zombie", point, where, "stop", when, rng.randint(1, CHUNKS - 2)))
    return outlived(stage)


def zombie_driver(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """The driver is stopped in the publishing, another one publishes, and it goes on."""
    where = rng.choice((r"/index/_order/", r"/index/[^/]+\.parquet$", r"/runs/[^.]*\.json$"))
    when: When = rng.choice(("before", "after"))
    stage.orders.give(Order("zombie", "create", where, "stop", when))
    return outlived(stage)


def zombie_on_s3(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """A writer is stopped before or after a PUT; its replacement finishes; then it goes on."""
    where = rng.choice(("/shards/", "/index/_pending/"))
    when: When = rng.choice(("before", "after"))
    stage.orders.give(Order("zombie", "create", where, "stop", when, rng.randint(1, CHUNKS - 2)))
    return outlived(stage)


def jumping_clock(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """The wall clock of every process jumps by days, back and forth, as it writes."""
    for n in range(3):
        days = rng.choice((-400, -1, 1, 400))
        nth = rng.randint(1, 2 * CHUNKS)
        stage.orders.give(Order(f"clock{n}", "create", "", "jump", nth=nth, seconds=86400 * days))
    ended = stage.run()
    if ended.code != 0:
        stage.wrong.append(f"a clock that jumps ended the run with {ended.code}")
    stage.faults += len(stage.orders.fired())
    return Terms()


def outlived(stage: Stage) -> Terms:
    """A machine stands still while a process of it is at a step; another one does the run; then the
    first one goes on. Stopped is the whole session: Ray ends a worker whose node or driver is gone.
    """
    started = stage.start()
    if not started.until(lambda: bool(stage.orders.fired("zombie"))):
        started.wait()
        return Terms()
    session = session_of(started.process.pid)
    _signal(session, signal.SIGSTOP)
    stage.orders.withdraw()
    ended = stage.run()
    if ended.code != 0:
        stage.wrong.append(f"the run beside a zombie ended with {ended.code}")
    zombie = int(stage.orders.fired("zombie")[0].split()[0])
    stage.faults += zombie in session_of(started.process.pid)
    _signal(session, signal.SIGCONT)
    late = started.wait()
    if "Traceback" in late.said:
        stage.wrong.append("a zombie ended with a traceback")
    return Terms()


def _signal(processes: list[int], number: signal.Signals) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
