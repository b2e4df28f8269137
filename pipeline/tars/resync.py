"""The next tar header in bytes that may be anything: any that holds, at any byte.

Time is linear in the bytes searched, also where `ustar` stands everywhere: from a few candidates on
all sums of a window are computed at once.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

import numpy as np

from pipeline.tars.header import BLOCK

SMALL_WINDOW, WINDOW = 4096, 256 * 1024
"""What a search reads at a time: little at first, as the next header is often near."""

FEW: Final = 16
"""Candidates in a window whose bytes are summed one by one; from there on all at once."""

_CHECKSUM = re.compile(rb"[ \0]*([0-7]{1,8})[ \0]*")


class Forward(Protocol):
    """Bytes that are read front to back; their number may be known only at their end."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Fewer than `size` only where they end."""

    def reaches(self, end: int) -> bool:
        """Whether there are at least `end` bytes."""

    def back_to(self, offset: int) -> int:
        """The first place from `offset` on that can still be read."""


def find_header(data: Forward, start: int) -> int | None:
    """The first header that holds, at any byte from `start` on."""
    size = SMALL_WINDOW
    while True:
        window = data.read_at(start, size)
        place = _header_in(window)
        if place is not None:
            return start + place
        if len(window) < size:
            return None
        start += len(window) - BLOCK + 1
        size = WINDOW


def _header_in(window: bytes) -> int | None:
    sums = None
    tried = 0
    last = len(window) - BLOCK
    magic = window.find(b"ustar", 257)
    while 0 <= magic <= last + 257:
        place = magic - 257
        stated = _CHECKSUM.fullmatch(window, place + 148, place + 156)
        if stated is not None:
            tried += 1
            if tried > FEW and sums is None:
                sums = np.cumsum(np.frombuffer(b"\0" + window, np.uint8), dtype=np.int64)
            here = window[place : place + BLOCK]
            total = sum(here) if sums is None else int(sums[place + BLOCK] - sums[place])
            if total - sum(here[148:156]) + 8 * 0x20 == int(stated[1], 8):
                return place
        magic = window.find(b"ustar", magic + 1)
    return None
