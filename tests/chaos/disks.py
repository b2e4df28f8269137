"""Disks that are full or read-only. The disks are small tmpfs mounts: that needs root."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random
from typing import Final

from tests.chaos.arena import Arena
from tests.chaos.laws import Terms
from tests.chaos.orders import Order, Point
from tests.chaos.stage import Stage
from tests.chaos.storage import told
from tests.jobs.workplace import CHUNKS
from tests.mounts import read_only

ACCESS_CODE: Final = 5
FULL_CODE: Final = 6

HOG: Final = """
import sys, time
import numpy, ray
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
held = []
try:
    while True:
        held.append(ray.put(numpy.zeros(1024 * int(sys.argv[2]), numpy.uint8)))
except (ray.exceptions.OutOfDiskError, ray.exceptions.ObjectStoreFullError):
    print("full", flush=True)
time.sleep(600)
"""
"""Another user of the same Ray, who keeps all that fits."""

WRITES: Final[tuple[tuple[Point, str, int], ...]] = (
    ("create", r"/attempts/", CHUNKS),
    ("create", r"/shards/", CHUNKS),
    ("create", r"/index/_pending/", CHUNKS),
    ("create", r"/index/_order/", 1),
    ("create", r"/index/[^/]+\.parquet$", 1),
    ("create", r"/runs/", 2),
)
"""What a run writes, and how often."""


def full_disk(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """The disk is filled up before one of the writes of a run, but for a few bytes."""
    point, where, most = rng.choice(WRITES)
    disk = stage.place.folder / "disk"
    free = rng.choice((0, 4096, 16384))
    nth = rng.randint(1, most)
    stage.orders.give(
        Order("full", point, where, "fill", nth=nth, times=10_000, over=free, disk=str(disk))
    )
    ended = stage.run()
    if ended.code != 0:  # the last write may have had room enough
        told(stage, ended, codes=(FULL_CODE,))
        stage.faults += 1
    stage.orders.withdraw()
    (disk / "ballast").unlink(missing_ok=True)
    return Terms()


def full_spill_disk(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """Somebody else fills Ray's object store and the disk to which it spills; later it is gone."""
    assert stage.node is not None
    command = [sys.executable, "-c", HOG, stage.node.address, str(rng.choice((64, 128, 256)))]
    with subprocess.Popen(
        command, env=os.environ | dict(stage.place.environment), stdout=subprocess.PIPE
    ) as hog:
        assert hog.stdout is not None
        try:
            while (said := hog.stdout.readline()) != b"full\n":  # Ray tells its troubles here too
                assert said, "Ray's object store could not be filled"
            ended = stage.run()
        finally:
            hog.kill()
    if ended.code != 0:
        told(stage, ended, codes=(FULL_CODE,))
        stage.faults += 1
    return Terms()


def read_only_sink(arena: Arena, stage: Stage, rng: Random) -> Terms:
    """The sink cannot be written, from the start or from a seeded commit on."""
    folder = stage.place.folder / "disk"
    wanted = rng.choice((0, 0, rng.randint(1, CHUNKS - 1)))
    if wanted == 0:
        with read_only(folder):
            ended = stage.run()
    else:
        stage.orders.give(Order("slow", "weave", "", "sleep", times=CHUNKS, seconds=0.2))
        started = stage.start()
        started.until(lambda: stage.committed() >= wanted)
        with read_only(folder):
            ended = started.wait()
    if ended.code != 0:
        stage.faults += 1
        told(stage, ended, codes=(ACCESS_CODE,))
    return Terms()
