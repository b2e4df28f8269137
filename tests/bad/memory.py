"""The most memory that this process has had at once."""

from __future__ import annotations

import re
from pathlib import Path


def peak() -> int:
    """Bytes. Not `ru_maxrss` of getrusage: on Linux that outlives exec, so a child begins with the
    peak of the process that started it (1.9 GB, late in a run of all tests).
    """
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError("/proc/self/status: no VmHWM")
    return int(found[1]) * 1024
