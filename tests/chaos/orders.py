"""Orders to processes under test: what is to happen to them at which step of their work.

An order is a file in a folder that the environment variable names; tests/chaos/hook.py, which every
process of a disturbed run loads, carries it out. Calls are counted over all processes, and every
call that an order struck leaves a file: `fired` says how often the fault really happened. Nothing
but the standard library is imported here: each of Ray's workers loads this at its start.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

VARIABLE: Final = "NOISELOOM_CHAOS"

Point = Literal["create", "delete", "read", "link", "unlink", "decode", "weave", "denoise"]
"""Where: a Store's methods, os.link and os.unlink, the decoder, a chunk's ops, a model's pass."""

Action = Literal[
    "kill", "stop", "kill_driver", "sleep", "fill", "jump", "note", "oom", "nan", "black"
]
"""What: SIGKILL or SIGSTOP to the process itself, SIGKILL to the driver, a pause, the sink's disk
filled up, the wall clock of the process set to another time, a line in the trace; and what models
do: memory runs out, no numbers, black pictures.
"""

When = Literal["before", "after"]


@dataclass(frozen=True)
class Order:
    """`action` at the calls number `nth` to `nth + times - 1` of those whose place matches."""

    name: str
    point: Point
    where: str
    action: Action
    when: When = "before"
    nth: int = 1
    times: int = 1
    seconds: float = 0.0
    over: int = 0
    """oom: batches of more than so many do not fit; fill: so many bytes are left free."""
    disk: str = ""
    """fill: a folder on the disk."""


@dataclass(frozen=True)
class Orders:
    """The orders of one run, as files."""

    folder: Path

    def give(self, order: Order) -> None:
        """From now on; a file that appears whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        hidden = self.folder / f"{order.name}.new"
        hidden.write_text(json.dumps(asdict(order)))
        hidden.replace(self.folder / f"{order.name}.json")

    def withdraw(self) -> None:
        """No order any more; what has happened stays on record."""
        for path in self.folder.glob("*.json"):
            path.unlink()

    def clear(self) -> None:
        """As if nothing had ever been ordered."""
        for path in self.folder.glob("*"):
            path.unlink()

    def all(self) -> Iterator[Order]:
        """Those in force."""
        for path in self.folder.glob("*.json"):
            try:
                yield Order(**json.loads(path.read_bytes()))
            except FileNotFoundError:  # withdrawn in between
                continue

    def strikes(self, order: Order, place: str) -> bool:
        """Counts this call of whichever process, and says whether it is the one."""
        if re.search(order.where, place) is None:
            return False
        number = self._next(f"{order.name}.call")
        if not order.nth <= number < order.nth + order.times:
            return False
        (self.folder / f"{order.name}.fired.{number}").write_text(f"{os.getpid()} {place}")
        return True

    def fired(self, name: str = "*") -> list[str]:
        """Where orders were carried out: "<pid> <place>" each."""
        return [path.read_text() for path in sorted(self.folder.glob(f"{name}.fired.*"))]

    def note(self, line: str) -> None:
        """A line in the trace that all processes write together."""
        handle = os.open(self.folder / "trace.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(handle, f"{line}\n".encode())
        finally:
            os.close(handle)

    def trace(self) -> list[str]:
        """What was noted."""
        path = self.folder / "trace.txt"
        return path.read_text().splitlines() if path.exists() else []

    def name_driver(self, pid: int) -> None:
        """Which process orders mean by "the driver"; it leads a group of its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "driver").write_text(str(pid))

    def driver(self) -> int:
        """Its process id."""
        return int((self.folder / "driver").read_text())

    def _next(self, stem: str) -> int:
        number = 1
        while True:
            try:
                os.close(os.open(self.folder / f"{stem}.{number}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                number += 1
            else:
                return number


def ordered() -> Orders | None:
    """The orders for this process, if it is to have any."""
    folder = os.environ.get(VARIABLE)
    return Orders(Path(folder)) if folder else None
