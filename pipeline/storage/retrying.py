"""Trying again where that may help, and going on with a broken read from the exact byte.

A try is one call of obstore, which has made its own few tries by then (`clouds.py`). Transient
troubles are tried again with growing pauses, until TRIES in a row brought nothing or PATIENCE is
over; a read that brought even one byte starts counting anew. All others are raised at once.
The time is a monotonic clock's: a wall clock that jumps changes nothing.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from random import SystemRandom
from typing import TYPE_CHECKING, Final, TypeVar

import obstore

from pipeline.storage.cloud_errors import OBSTORE_ERRORS, TransientError, told

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ObjectStore

TRIES: Final = 9
"""Their pauses add up to 55 s: S3 answers 503 for some tens of seconds while it splits a busy
prefix, and a gateway is restarted within a minute."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 15.0
PATIENCE = 90.0
"""Seconds without a new byte after which nothing is tried again: a store that takes every request
and answers none (15 s each, `clouds.QUIET`) ends an operation within two minutes."""

PART: Final = 1
"""Bytes of a body that are worth handing over: what has come is kept, and never asked for twice.
At 64 MiB it costs 1.05 times the CPU of one `get_range` (measured)."""

ResultT = TypeVar("ResultT")

_dice = SystemRandom()  # the system's own: no state here that a seed elsewhere could share


class Patience:
    """The tries of one operation at `where`."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.progressed()

    def progressed(self) -> None:
        """Counts anew."""
        self._failed, self._since = 0, time.monotonic()

    def failed(self, error: OSError) -> None:
        """Pauses before the next try, or raises where none is worth while."""
        self._failed += 1
        waited = time.monotonic() - self._since
        if not isinstance(error, TransientError):
            raise error
        if self._failed >= TRIES or waited > PATIENCE:
            text = f"{error.strerror}, {self._failed} times within {waited:.0f} s"
            raise TransientError(error.errno, text, self._where)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._failed - 1))
        time.sleep(pause * _dice.uniform(0.5, 1))  # many workers must not come back together


def patiently(where: str, action: Callable[[], ResultT]) -> ResultT:
    """What `action` returns, which must bear repetition: it is tried again on what may pass."""
    patience = Patience(where)
    while True:
        try:
            return action()
        except (*OBSTORE_ERRORS, OSError) as error:
            trouble = told(error, where)
        patience.failed(trouble)


def read_range(
    opened: Callable[[], ObjectStore],
    path: str,
    offset: int,
    size: int | None,
    where: str,
    version: str | None = None,
) -> bytes:
    """`size` bytes from `offset`, or all that follow: all of one version of the object.

    The version is the etag given, or that of the first answer. A body that breaks off is continued
    at the first byte that is missing. OSError(ESTALE) where the object changes in between.
    """
    patience = Patience(where)
    parts: list[bytes | memoryview] = []
    have, end = 0, None if size is None else offset + size
    while True:
        try:
            options: GetOptions = {}
            if end is not None:
                options["range"] = (offset + have, end)
            elif offset:
                options["range"] = {"offset": offset}
            if version and not version.startswith("W/"):  # a weak etag never matches (RFC 9110)
                options["if_match"] = version
            result = obstore.get(opened(), path, options=options)
            version = version or result.meta["e_tag"]
            end = result.range[1]
            for part in result.stream(min_chunk_size=PART):
                parts.append(memoryview(part))
                have += len(part)
                patience.progressed()
            trouble: OSError = TransientError(errno.EIO, "the answer ended early", where)
        except (*OBSTORE_ERRORS, OSError) as error:
            trouble = told(error, where)
        if end is not None and offset + have >= end:
            break
        patience.failed(trouble)
    wanted = end - offset if size is None else size
    if have != wanted:
        raise OSError(errno.EIO, f"{have} bytes at {offset}, expected {wanted}", where)
    return b"".join(parts)
