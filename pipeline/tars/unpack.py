"""gzip and zstd shards: the bytes inside, read front to back, with bounded memory.

    stream = Unpacked(store, "a.tar.gz", size, "gzip")
    stream.read_at(512, 100)      offsets are of what is inside

Reading on is cheap, reading back starts again at the front: a chunk's members should lie together.
A worker keeps what it has open, so that the next chunk goes on where the last one ended.

A damaged or truncated file gives everything before the damage, and `trouble` says what it was. So
does a bomb: nothing behind FREE + MAX_RATIO x the packed size is unpacked. zstd frames that ask for
a window above 128 MiB are refused by the library.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Final, Literal

import pyarrow as pa

from pipeline.storage.store import Store
from pipeline.tars.header import BLOCK
from pipeline.tars.resync import WINDOW
from pipeline.tars.salvage import Damage
from schemas.index import Member

Packing = Literal["", "gzip", "zstd"]

MAX_RATIO: Final = 200
"""Images are compressed already: shards of PNG or JPEG have 1 to 3, of blank raw TIFF some 100."""

FREE: Final = 1024**3
"""Unpacked whatever the ratio: seconds of work, and no memory."""

MAX_REWINDS: Final = 8
"""Searches of a damaged shard that may start again at its front, for time linear in its size."""

OPEN: Final = 2
"""Streams that a process keeps; a zstd window takes up to 128 MiB."""

_READ: Final = 1024 * 1024
_ARROW: Final = 64 * 1024  # Arrow takes so many packed bytes at a time
_PIECE: Final = 64
"""Packed bytes at a time near a damage: what precedes it is lost only in such a piece."""


class Unpacked:
    """One packed file. Reads like any other, until `trouble` or the end."""

    def __init__(self, store: Store, name: str, size: int, packing: str) -> None:
        self.trouble: Damage | None = None
        self._file, self._packing = (store, name, size), packing
        self._limit = FREE + MAX_RATIO * size
        self._end: int | None = None
        self._rough: int | None = None  # up to here all is well, and soon after it is not
        self._careful: int | None = None  # the same, in packed bytes
        self._rewinds = 0
        self._start = self._read = 0
        self._data = b""
        self._open()

    def read_at(self, offset: int, size: int) -> bytes:
        """Fewer than `size` only where the bytes end."""
        if offset < self._start:
            self._rewind()
        self._skip(offset)
        if offset + size > self._start + len(self._data):
            self._fill(offset, size)
        place = max(0, offset - self._start)
        found = self._data[place : place + size]
        if size > WINDOW:  # a member, not a header: it is not asked for twice
            self._start, self._data = offset + len(found), self._data[place + size :]
        return found

    def reaches(self, end: int) -> bool:
        """Whether there are at least `end` bytes; unpacks them to know it."""
        if self._end is None and end > self._start:
            self._skip(end)
        return end <= (self._start + len(self._data) if self._end is None else self._end)

    def back_to(self, offset: int) -> int:
        """The first place from `offset` on that can still be read in bounded time."""
        return offset if self._rewinds < MAX_REWINDS else max(offset, self._start)

    def _rewind(self) -> None:
        self._rewinds += 1
        self._open()

    def _open(self) -> None:
        self._start = self._read = 0
        self._data = b""
        self._packed = _Packed(*self._file, self._careful)
        self._stream = pa.CompressedInputStream(pa.PythonFile(self._packed, "r"), self._packing)

    def _skip(self, offset: int) -> None:
        while self._start + len(self._data) < offset and (fresh := self._fresh()):
            self._start += len(self._data)
            self._data = fresh

    def _fill(self, offset: int, size: int) -> None:
        pieces = [self._data[max(0, offset - self._start) :]]
        missing = size - len(pieces[0])
        while missing > 0 and (fresh := self._fresh()):
            pieces.append(fresh)
            missing -= len(fresh)
        self._data = b"".join(pieces)
        self._start = self._read - len(self._data)

    def _fresh(self) -> bytes:
        """The next bytes, none at the end."""
        if self._end is not None and self._read >= self._end:
            return b""
        near = self._rough is not None and self._read >= self._rough
        before = self._packed.place
        try:
            fresh = bytes(self._stream.read(BLOCK if near else WINDOW))
        except (OSError, pa.ArrowInvalid) as error:
            if self._packed.trouble is not None:
                raise self._packed.trouble from None
            if self._careful is None:
                return self._carefully(before)
            self._stop("damaged_stream", f"{self._packing} data: {error}")
            return b""
        if not fresh:
            self._end = self._read
        elif self._read + len(fresh) > self._limit:
            packed = self._file[2]
            self._stop("decompression_bomb", f"{packed} bytes unpack to over {self._limit}")
            return b""
        self._read += len(fresh)
        return fresh

    def _carefully(self, before: int) -> bytes:
        """Again from the front, and in small steps near the damage: Arrow gives back nothing of the
        read in which it meets one.
        """
        self._rough, self._careful = self._read, max(0, before - _ARROW)
        start, data = self._start, self._data
        self._rewind()
        while self._read < self._rough and self._fresh():
            pass
        self._start, self._data = start, data
        return self._fresh()

    def _stop(self, slug: str, detail: str) -> None:
        self._end = self._read
        self.trouble = Damage(self._read, slug, detail)


class _Packed(io.RawIOBase):
    """The file as it lies there, for Arrow. An error of the store is kept in `trouble`: Arrow's own
    errors are OSErrors too.
    """

    def __init__(self, store: Store, name: str, size: int, careful: int | None) -> None:
        super().__init__()
        self.place = 0
        self.trouble: OSError | None = None
        self._store, self._name, self._size = store, name, size
        self._careful = size if careful is None else careful
        self._start, self._data = 0, b""

    def readable(self) -> bool:
        """As Arrow asks."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes; few at a time where care is needed."""
        if self.place >= self._careful:
            size = min(size, _PIECE)
        if self.place >= self._start + len(self._data):
            self._start, self._data = self.place, self._more()
        found = self._data[self.place - self._start :][:size]
        self.place += len(found)
        return found

    def _more(self) -> bytes:
        try:
            return self._store.read(self._name, self.place, min(_READ, self._size - self.place))
        except OSError as error:
            self.trouble = error
            raise


_open: OrderedDict[tuple[Store, str, int, str], Unpacked] = OrderedDict()
_lock = Lock()


def read_unpacked(
    store: Store, name: str, size: int, version: str, packing: str, members: Sequence[Member]
) -> dict[Member, bytes]:
    """These members of a packed shard; OSError where one of them is not there any more."""
    key = (store, name, size, version)
    with _lock:
        stream = _open.pop(key, None)
    stream = stream or Unpacked(store, name, size, packing)
    data: dict[Member, bytes] = {}
    for member in sorted(members, key=lambda m: m.offset):
        data[member] = stream.read_at(member.offset, member.size)
        if len(data[member]) < member.size:
            raise OSError(f"{member.name}: cannot be unpacked ({stream.trouble})")
    with _lock:
        _open[key] = stream
        while len(_open) > OPEN:
            _open.popitem(last=False)
    return data
