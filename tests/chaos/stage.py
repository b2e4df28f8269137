"""One case: what is run, where, and the means to run it, to look at it and to disturb it."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass, field
from typing import Final, Literal

from tests.chaos.cluster import Node, kill_session
from tests.chaos.orders import Orders
from tests.chaos.reader import View
from tests.jobs.workplace import Workplace
from tests.s3.proxy import Proxy

HANGS_AFTER_S: Final = 240.0
"""Longer than any run here takes on busy cores: a run that is not over then never ends."""

Store = Literal["disk", "small", "s3"]
Ops = Literal["classic", "models"]


@dataclass(frozen=True)
class Kind:
    """What a scenario runs: the ops, where source and sink are (`small`: a disk of its own, to be
    filled), how Ray is had, whether a second node joins it, and whether it is a Ray of its own with
    a small object store that spills to a small disk.
    """

    ops: Ops = "classic"
    store: Store = "disk"
    embedded: bool = False
    pool: str = "[1, 1]"
    shards: tuple[str, ...] = ("train-*",)
    second_node: bool = False
    small_spill: bool = False


@dataclass(frozen=True)
class Ended:
    """How a command ended. A code below 0 is a signal's; None: it hung and was killed."""

    code: int | None
    said: str
    seconds: float


@dataclass
class Stage:
    """One case: a sink of its own, and the means to run and to disturb."""

    name: str
    kind: Kind
    place: Workplace
    sink: str
    view: View
    orders: Orders
    proxy: Proxy | None
    node: Node | None
    second: Node | None = None
    runs: int = 0
    faults: int = 0
    seconds: float = 0.0
    said: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What a scenario itself has found to be against its law: a slow end, a traceback, ..."""

    def start(self, place: Workplace | None = None, **environment: str) -> Started:
        """The command, under way."""
        self.runs += 1
        process = (place or self.place).start(**environment)
        self.orders.name_driver(process.pid)
        return Started(self, process, place or self.place, time.monotonic())

    def run(self, place: Workplace | None = None, **environment: str) -> Ended:
        """The command, to its end."""
        return self.start(place, **environment).wait()

    def committed(self) -> int:
        """Chunks that are committed and not published."""
        found = self.view.names()
        return sum(name.startswith("index/_pending/") for name in found)

    def done(self) -> bool:
        """Whether anything is published."""
        return any(name.startswith("index/") and name.count("/") == 1 for name in self.view.names())


@dataclass
class Started:
    """A run under way, in a session of its own."""

    stage: Stage
    process: subprocess.Popen[bytes]
    place: Workplace
    since: float

    def until(self, condition: object, every: float = 0.01) -> bool:
        """Waits for it; False where the run ended before."""
        assert callable(condition)
        while not condition():
            if self.process.poll() is not None or time.monotonic() - self.since > HANGS_AFTER_S:
                return False
            time.sleep(every)
        return True

    def kill(self) -> Ended:
        """SIGKILL to the driver and the processes of its group."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
        return self.wait()

    def wait(self) -> Ended:
        """To its end, or to where it counts as hung."""
        code: int | None
        try:
            code = self.process.wait(max(1.0, self.since + HANGS_AFTER_S - time.monotonic()))
        except subprocess.TimeoutExpired:
            kill_session(self.process.pid)
            self.process.wait()
            code = None
        seconds = time.monotonic() - self.since
        said = self.place.said()
        self.stage.seconds += seconds
        self.stage.said.append(f"--- exit code {code} after {seconds:.1f} s\n{said}")
        return Ended(code, said, seconds)
