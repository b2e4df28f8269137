"""What Ray reports of a run, in the words of its reader."""

from __future__ import annotations

from typing import Final

from ray.exceptions import (
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from pipeline.flow.carried import CarriedError
from schemas.errors import FullError, NoiseloomError, RunError

IO_RETRIES: Final = 15
"""Deaths of one read or write task, by lost nodes too, before the run stops; Ray's own -1 would try
for ever what no worker survives. With actors its -1 is right: the journal of attempts bounds it.
"""


def unwrapped(error: RayError) -> NoiseloomError:
    """What was raised in a task, if it has a message for the user; otherwise what Ray's error means
    to the user, or all that Ray says.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, CarriedError):
            return cause.error
        known = _meaning(cause)
        if known is not None:
            return known
        cause = cause.cause if isinstance(cause, RayTaskError) else cause.__cause__
    return RunError(f"a worker failed; start the run again to resume it\n{error}")


def _meaning(error: BaseException) -> NoiseloomError | None:
    if isinstance(error, OutOfDiskError | ObjectStoreFullError):
        return FullError(
            "no room for the blocks under way: the disk of Ray's folder (RAY_TMPDIR, or /tmp) and "
            "/dev/shm are full; make room, or take a smaller chunk_size, and start the same "
            "command again"
        )
    if isinstance(error, OutOfMemoryError):
        return RunError(
            "a machine ran out of memory, again and again; take a smaller chunk_size or "
            "resources.pool, or more memory, and start the run again to resume it"
        )
    if isinstance(error, WorkerCrashedError):
        return RunError(
            f"a process that reads or writes died {IO_RETRIES + 1} times on the same chunk, most "
            "likely out of memory; take a smaller chunk_size, and start the run again to resume it"
        )
    return None
