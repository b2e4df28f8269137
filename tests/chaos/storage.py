"""S3 that fails, through the fault proxy, for a whole run with its source and its sink there."""

from __future__ import annotations

import os
import signal
from random import Random
from typing import Final

from tests.chaos.arena import Arena
from tests.chaos.laws import Terms
from tests.chaos.stage import Ended, Stage
from tests.jobs.workplace import CHUNKS
from tests.s3.proxy import FOREVER, Fault, Kind, Proxy

PASSING: Final[tuple[Kind, ...]] = ("500", "503", "429", "reset", "cut", "lost", "lost_500")
REFUSALS: Final[tuple[Kind, ...]] = (
    "ExpiredToken",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AccessDenied",
    "RequestTimeTooSkewed",
)
ACCESS_CODE: Final = 5


def storm(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """A share of all requests fails, in every way, and some answers take their time."""
    proxy = _proxy(stage)
    proxy.storm(rng.randrange(2**32), rng.uniform(0.03, 0.15), PASSING)
    for _ in range(2):
        stall: Kind = rng.choice(("stall", "stall_body"))
        proxy.plan(Fault(stall, at=rng.randint(1, 80), seconds=rng.uniform(0.5, 3)))
    stage.run()
    _count(stage)
    return Terms()


def storm_and_kill(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """As `storm`; the driver is killed at a seeded request, and the rerun is in the storm too."""
    proxy = _proxy(stage)
    proxy.storm(rng.randrange(2**32), rng.uniform(0.03, 0.1), PASSING)
    last = rng.randint(5, 150)
    started = stage.start()
    if started.until(lambda: len(proxy.requests) >= last):
        os.killpg(started.process.pid, signal.SIGKILL)
        stage.faults += 1
    started.wait()
    stage.run()
    _count(stage)
    return Terms()


def lost_puts(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """PUTs that are applied and whose answers are lost: of tars, index files, slots, the index."""
    proxy = _proxy(stage)
    for path in (
        "/shards/",
        "/index/_pending/",
        "/index/_order/",
        r"/index/[^/]*\.parquet",
        "/runs/",
    ):
        kind: Kind = rng.choice(("lost", "lost_500"))
        most = CHUNKS if path in ("/shards/", "/index/_pending/") else 1
        proxy.plan(Fault(kind, "PUT", path, at=rng.randint(1, most), times=rng.randint(1, 2)))
    ended = stage.run()
    if ended.code != 0:
        stage.wrong.append(f"a lost answer ended the run with {ended.code}")
    _count(stage)
    return Terms()


def outage(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """From a seeded request on nothing answers, until all retries are used up: one clear line."""
    proxy = _proxy(stage)
    kind: Kind = rng.choice(("503", "500", "reset"))
    proxy.plan(Fault(kind, at=rng.randint(1, 120), times=FOREVER))
    ended = stage.run()
    told(stage, ended, codes=(2, 3))
    _count(stage)
    return Terms()


def refusal(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """Credentials expire, permissions change, a clock is wrong, from a seeded request on."""
    proxy = _proxy(stage)
    kind = rng.choice(REFUSALS)
    proxy.plan(Fault(kind, rng.choice(("", "PUT")), at=rng.randint(1, 40), times=FOREVER))
    ended = stage.run()
    told(stage, ended, codes=(ACCESS_CODE,))
    _count(stage)
    return Terms()


def _proxy(stage: Stage) -> Proxy:
    assert stage.proxy is not None, "this scenario needs S3"
    return stage.proxy


def _count(stage: Stage) -> None:
    stage.faults += sum(_proxy(stage).injected.values())


def told(stage: Stage, ended: Ended, codes: tuple[int, ...]) -> None:
    """The user is told in a few lines, and by one of these exit codes."""
    if ended.code not in codes:
        stage.wrong.append(f"ended with {ended.code}; expected one of {codes}")
    for word in ("Traceback", "ray.exceptions", "RayTaskError", ".rs:"):
        if word in ended.said:
            stage.wrong.append(f"said {word}")
