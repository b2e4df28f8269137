"""Ray clusters on this machine: one that many runs join, and one of two nodes to lose one of.

Every node is `ray start --block` in a session of its own, so that SIGKILL to the session is the
loss of the node, with its raylet, its object store and all its workers.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

QUIET: Final = {
    "RAY_AUTH_MODE": "disabled",  # `ray start` would write a token into the home folder
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_worker_niceness": "0",
    "RAY_health_check_period_ms": "500",  # a dead node is noticed after 2 s, not after 50
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "4",
    "OMP_WAIT_POLICY": "passive",
    "OMP_NUM_THREADS": "1",
}

STARTS_WITHIN_S: Final = 90

STAGES: Final = ("MapWorker", "MapBatches", "ReadChunks", "Read_Chunks", "ReadDatasource")
"""What Ray calls workers that are at work for a run."""


@dataclass(frozen=True)
class Node:
    """One node of a cluster."""

    process: subprocess.Popen[bytes]
    address: str

    def kill(self) -> None:
        """SIGKILL to all of it at once."""
        kill_session(self.process.pid)
        self.process.wait()

    @property
    def lives(self) -> bool:
        """Whether it is up, as far as its first process tells."""
        return self.process.poll() is None


def start_node(
    folder: Path,
    environment: Mapping[str, str],
    cpus: int,
    address: str | None = None,
    arguments: tuple[str, ...] = (),
) -> Node:
    """A head, or a node that joins the one at `address`."""
    role = ["--head", "--port=0"] if address is None else [f"--address={address}"]
    own = ["--include-dashboard=false", f"--temp-dir={folder}"] if address is None else []
    command = [str(Path(sys.executable).with_name("ray")), "start", "--block", *role, *own]
    said = folder / f"node-{time.monotonic_ns()}.txt"
    with said.open("w") as out:
        process = subprocess.Popen(
            [*command, f"--num-cpus={cpus}", *arguments],
            env={**os.environ, **QUIET, **environment},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        if "Ray runtime started" in said.read_text():
            found = re.search(r"--address='([^']+)'", said.read_text())
            if address is not None or found is not None:
                return Node(process, address or (found[1] if found else ""))
        time.sleep(0.05)
    kill_session(process.pid)
    raise RuntimeError(f"Ray did not start: {said.read_text()}")


@contextmanager
def ray_folder() -> Iterator[Path]:
    """A short path (its sockets' names may have 107 bytes), gone with the block."""
    folder = Path(tempfile.mkdtemp(prefix="nc", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def session_of(leader: int) -> list[int]:
    """All processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ProcessLookupError):
                if os.getsid(int(entry.name)) == leader:
                    found.append(int(entry.name))
    return found


def kill_session(leader: int) -> None:
    """SIGKILL to every process of a session, until there is none."""
    while found := [pid for pid in session_of(leader) if _runs(pid)]:
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def workers(leader: int, title: str) -> list[int]:
    """The workers of a session that Ray has given a title like this: `ray::<title>...`."""
    return [pid for pid in session_of(leader) if _title(pid).startswith(f"ray::{title}")]


def raylets(leader: int) -> list[int]:
    """The node processes of a session."""
    return [pid for pid in session_of(leader) if _title(pid).endswith("/raylet")]


def busy(leader: int) -> list[str]:
    """Titles of the workers of a session that work for a run."""
    titles = [_title(pid) for pid in session_of(leader)]
    return [title for title in titles if any(name in title for name in STAGES)]


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""


def _runs(pid: int) -> bool:
    """Neither gone nor a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
