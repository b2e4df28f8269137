"""What a store's OSError means to a user: the one place that tells a full disk from a locked door.

`store.py` turns whatever a cloud's library raises into plain OSErrors; whoever uses a store turns
those into an error with a message, by `storage_error`.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from schemas.errors import AccessError, FullError, NoiseloomError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_LOCKED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_ADVICE: Final = "make it writable for this user, or name another place"


def storage_error(error: OSError, place: str, otherwise: type[NoiseloomError]) -> NoiseloomError:
    """The error to raise for `error`, met at `place`: FullError, AccessError, or `otherwise`."""
    text = described(error, place)
    if error.errno in _FULL:
        return FullError(f"{text}; make room and start the same command again")
    if error.errno in _LOCKED:
        # What `cloud_errors.py` says of a cloud holds its advice; what the disk says does not.
        plain = error.strerror == os.strerror(error.errno or 0)
        return AccessError(f"{text}; {_ADVICE}" if plain else text)
    return otherwise(text)


def described(error: OSError, place: str) -> str:
    """One line: the place, the file if it is another one, and what is wrong."""
    what = " ".join(str(error.strerror or error).split())
    file = str(error.filename or "")
    if not file or file in place:
        return f"{place}: {what}"
    within = f"{place.rstrip('/')}/"
    return f"{file}: {what}" if file.startswith(within) else f"{place}: {file}: {what}"
