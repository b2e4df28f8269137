"""Every kind of bad shard, one after the other in this process, and how much memory that took.

    python -m tests.bad.running told.json [KIND ...]

writes {"kinds": {name: complaints}, "seconds": {name: s}, "peak": bytes} and is silent. Shards are
made and read in the working folder. The peak is that of scanning, reading and decoding; what a run
would write of the samples is looked at after it was measured.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bad import heavy
from tests.bad.kinds import EVERY
from tests.bad.memory import peak
from tests.bad.reading import Seen, complaints, read, unrecorded

HEAVY = heavy.KINDS.keys() | heavy.HEAVIER.keys()
"""Kinds whose samples are large: weaving them says nothing new."""

HUNG = 120
"""Seconds after which one kind ends the process, with a traceback."""


@dataclass(frozen=True)
class Told:
    """What is wrong with each kind, how long each took, and the most memory that there was."""

    kinds: dict[str, list[str]]
    seconds: dict[str, float]
    peak: int


def run(names: Sequence[str], advance: Callable[[], object] = lambda: None) -> Told:
    """What is wrong with each kind, and the peak of memory."""
    told: dict[str, list[str]] = {}
    seconds: dict[str, float] = {}
    seen: dict[str, Seen] = {}
    for name in names:
        faulthandler.dump_traceback_later(HUNG, exit=True)
        case = EVERY[name]()
        begin = time.perf_counter()
        with TemporaryDirectory(dir=Path.cwd()) as folder:
            found = read(case, Path(folder))
            told[name] = complaints(case, found)
        seconds[name] = time.perf_counter() - begin
        if name not in HEAVY:
            seen[name] = found
        advance()
    faulthandler.cancel_dump_traceback_later()
    most = peak()
    for name, found in seen.items():
        told[name] += unrecorded(found)
    return Told(told, seconds, most)


if __name__ == "__main__":
    out, *wanted = sys.argv[1:]
    Path(out).write_text(json.dumps(asdict(run(wanted))))
