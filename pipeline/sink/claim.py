"""The claim of `noiseloom gc`: one at a time, and no run starts beside it.

    gc/<host>.<process>    there while a gc is at work

gc makes its claim and then reads the plans; a run that starts writes its plan and then looks for a
claim. Whichever is second sees the other: so gc knows every run that is at work, and a run that gc
does not know waits. A claim of a process of this machine that is gone counts for nothing; that of
another machine stands until gc there has ended, or somebody who knows better deletes the file.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pipeline.index.files import sink_errors
from pipeline.storage.store import Store
from schemas.errors import SinkError

CLAIMS: Final = "gc"

PATIENCE_S: Final = 60.0
"""A gc takes seconds: a run that starts waits so long for its end."""


@contextmanager
def claimed(store: Store) -> Iterator[None]:
    """The claim is there inside the block; SinkError where another gc is at work."""
    mine = f"{this_host()}.{os.getpid()}"
    with sink_errors(store):
        store.create(f"{CLAIMS}/{mine}", b"\n")
        try:
            _check_free(store, mine)
            yield
        finally:
            store.delete(f"{CLAIMS}/{mine}")


def wait_for_gc(store: Store, patience_s: float = PATIENCE_S) -> None:
    """Returns when no gc is at work; SinkError where one goes on and on."""
    mine = f"{this_host()}.{os.getpid()}"
    end = time.monotonic() + patience_s
    with sink_errors(store):
        while _others(store, mine) and time.monotonic() < end:
            time.sleep(0.2)
        _check_free(store, mine)


def alive(pid: int) -> bool:
    """Whether this machine has such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _check_free(store: Store, mine: str) -> None:
    for name in _others(store, mine):
        host, _, pid = name.rpartition(".")
        raise SinkError(
            f"{store.url}: `noiseloom gc` is at work (process {pid} on {host}); start again when "
            f"it has ended. If there is no such process, delete {store.at(f'{CLAIMS}/{name}')}"
        )


def _others(store: Store, mine: str) -> list[str]:
    """The claims of other processes, but for those of this machine that are gone."""
    return [name for name in store.entries(CLAIMS) if name != mine and not _gone(name)]


def _gone(name: str) -> bool:
    host, _, pid = name.rpartition(".")
    return host == this_host() and pid.isdecimal() and not alive(int(pid))


def this_host() -> str:
    """The name of this machine, without dots."""
    name = socket.gethostname()
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name) or "here"
