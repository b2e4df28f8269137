"""A command that ends without a word gets one from outside.

Where the node process of Ray (raylet) dies, Ray ends the driver beside it by `_exit(1)`; where the
memory of the machine is spent, the kernel does, by SIGKILL. Neither lets Python say anything. So a
process of a few MB waits at the end of a pipe, and speaks if it closes before anyone has said that
all is told.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_WAITS = "import sys; sys.stdin.buffer.read() or sys.stderr.write(sys.argv[1] + '\\n')"

_pipes: set[int] = set()


@contextmanager
def last_word(says: str) -> Iterator[None]:
    """If this process ends inside the block without leaving it, `says` is written to stderr."""
    with subprocess.Popen(  # noqa: S603 - our own words, to our own interpreter
        [sys.executable, "-I", "-S", "-c", _WAITS, says],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C, and a kill of the whole process group, are not for it
    ) as waiting:
        assert waiting.stdin is not None
        _pipes.add(pipe := waiting.stdin.fileno())
        try:
            yield
        finally:
            all_is_told()
            _pipes.discard(pipe)


def all_is_told() -> None:
    """For who ends the process by `os._exit` and has said why. Safe in a signal handler."""
    for pipe in _pipes:
        with suppress(OSError):  # somebody has killed it
            os.write(pipe, b".")
