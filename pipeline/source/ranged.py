"""Ranged reads: as few requests as the bytes allow, and never one per member.

`ForwardReader` serves a walk over headers: on a disk it reads a file once, front to back, and
hashes it on the way; in an object store it fetches headers, and what lies between small members too
because that is cheaper than asking again. `read_members` fetches known members: one request for
those that lie together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from pipeline.storage.store import Store
from pipeline.tars.header import BLOCK
from schemas.index import Member

READ_AHEAD = 256 * 1024  # one request of 30 ms at 50 MB/s is worth 1.5 MB: never one per header
LONE_HEADER = 4 * BLOCK  # after a large member: its neighbour's header, with a PAX header in front
MAX_GAP = 256 * 1024  # bytes read and thrown away rather than asking once more
MAX_READ = 64 * 1024 * 1024


def read_members(
    store: Store, name: str, members: Sequence[Member], version: str | None = None
) -> dict[Member, bytes]:
    """One ranged read for members that lie together, headers between them included; OSError(ESTALE)
    where the file is not of this `version`, if one is given.
    """
    data: dict[Member, bytes] = {}
    for run in _runs(sorted(members, key=lambda m: m.offset)):
        start = run[0].offset
        block = store.read(name, start, run[-1].offset + run[-1].size - start, version)
        for member in run:  # a large one lies alone in its block, and is not copied
            place = member.offset - start
            data[member] = block[place : place + member.size]
    return data


def _runs(members: Sequence[Member]) -> Iterator[list[Member]]:
    run: list[Member] = []
    for member in members:
        if run:
            gap = member.offset - run[-1].offset - run[-1].size
            if gap > MAX_GAP or member.offset + member.size - run[0].offset > MAX_READ:
                yield run
                run = []
        run.append(member)
    if run:
        yield run


class ForwardReader:
    """Reads forward, ahead where it pays, and hashes all that it passes on a local disk. To look
    back costs a read of its own.
    """

    def __init__(self, store: Store, name: str, size: int) -> None:
        self._store, self._name, self._size = store, name, size
        self._local = store.local is not None
        self._hash = hashlib.blake2b(digest_size=16)
        self._start, self._data = 0, b""

    def read_at(self, offset: int, size: int) -> bytes:
        """Fewer than `size` only where the file ends."""
        size = min(size, self._size - offset)
        if size <= 0:
            return b""
        if offset < self._start:
            return self._store.read(self._name, offset, size)
        end = offset + size
        while self._start + len(self._data) < end:
            self._advance(offset, size)
        place = offset - self._start
        return self._data[place : place + size]

    def reaches(self, end: int) -> bool:
        """Whether the file has at least `end` bytes."""
        return end <= self._size

    def back_to(self, offset: int) -> int:
        """Every place can be read again."""
        return offset

    def digest(self) -> str:
        """32 hex digits of the whole file."""
        while self._start + len(self._data) < self._size:
            self._advance(self._size, 0)
        return self._hash.hexdigest()

    def _advance(self, offset: int, size: int) -> None:
        seen = self._start + len(self._data)
        skipped = max(0, offset - seen)
        start = seen if self._local else seen + skipped
        ahead = LONE_HEADER if skipped > READ_AHEAD and not self._local else READ_AHEAD
        fresh = self._store.read(self._name, start, min(max(ahead, size), self._size - start))
        kept = self._data[max(0, offset - self._start) :] if start == seen else b""
        self._data = kept + fresh
        self._start = start - len(kept)
        if self._local:
            self._hash.update(fresh)
