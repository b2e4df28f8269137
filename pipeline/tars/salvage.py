"""Every member that can be read out of a tar that may be damaged, and every damage on the way.

A member that is no regular file, or whose name no file should have, is passed over. A header that
does not hold ends the walk there, and it goes on at the next header that holds: wherever `ustar`
stands, at any byte, with a checksum that is right. The search begins right behind the last good
header, so that what a member with a wrong size would have swallowed is found; such a member is
passed over. Members never overlap.

Joined archives are read through. Time is linear in the size of the file, memory does not depend on
it, and nothing is read or allocated because a header says so. Slugs of the tolerant walk, besides
those of `header.py`:

    not_a_tar           no header holds in the whole file
    truncated           the last member ends behind the file's end
    wrong_size          a member's size does not hold: another member begins within it
    long_name           longer than MAX_NAME bytes
    joined_archives     members after an end mark: they are read
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipeline.tars.header import (
    BLOCK,
    EXTENSIONS,
    FOLDER,
    MAX_EXTENSION,
    NOTHING,
    PACKED,
    SPARSE,
    WITHOUT_DATA,
    TarError,
    check_header,
    check_kind,
    check_name,
    header_name,
    header_size,
    padded,
)
from pipeline.tars.resync import SMALL_WINDOW, WINDOW, Forward, find_header
from schemas.index import Member

MAX_NAME: Final = 1024
"""Bytes of a member's name: a key becomes the name of a file, and of many rows."""

# Control characters, ends of lines, and marks that turn the direction of what follows.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Damage:
    """What is wrong with an archive: at which byte, a fixed slug, and what exactly."""

    offset: int
    slug: str
    detail: str


def salvage(data: Forward) -> Iterator[Member | Damage]:
    """Members and damages in the order of the walk."""
    walker = _Walker(data)
    while not walker.ended:
        walker.step()
        yield from walker.found
        walker.found.clear()


class _Walker:
    """Where a walk is. `held` is the last member: it counts once the header behind it holds."""

    def __init__(self, data: Forward) -> None:
        self.found: list[Member | Damage] = []
        self.ended = False
        self._data = data
        self._place = 0
        self._behind = 0  # the last good header: where a search begins
        self._held: Member | None = None
        self._pending = NOTHING
        self._spoilt: TarError | None = None  # what the extended headers said cannot be used
        self._any = False

    def step(self) -> None:
        """One header."""
        place = self._place
        header = self._data.read_at(place, BLOCK)
        if len(header) < BLOCK:
            self._cut()
            return
        if not header[0] and not any(header):
            self._zeros()
            return
        try:
            check_header(header, place)
        except TarError as error:
            self._lost(error)
            return
        self._confirm()
        self._any, self._behind = True, place + BLOCK
        try:
            length = header_size(header, place)
            kind = header[156:157]
            if kind in EXTENSIONS:
                self._extension(kind, length)
            else:
                self._member(header, kind, length)
        except TarError as error:
            self._lost(error)

    def _confirm(self) -> None:
        if self._held is not None:
            self.found.append(self._held)
            self._held = None

    def _note(self, offset: int, slug: str, detail: str) -> None:
        self.found.append(Damage(offset, slug, detail))

    def _extension(self, kind: bytes, length: int) -> None:
        place = self._place
        if length <= MAX_EXTENSION:
            data = self._data.read_at(place + BLOCK, length)
            if len(data) < length:
                raise _beyond(place, "an extended header", length)
            self._take(kind, data)
        else:
            if not self._data.reaches(place + BLOCK + length):
                raise _beyond(place, "an extended header", length)
            reason = f"an extended header of {length} bytes; {MAX_EXTENSION} at most"
            self._spoilt = TarError(place, reason, "long_extension")
        self._place = place + BLOCK + padded(length)

    def _take(self, kind: bytes, data: bytes) -> None:
        try:
            self._pending = self._pending.take(kind, data, self._place)
        except TarError as error:
            if kind == b"g":
                self._note(error.offset, error.slug, f"{error.reason}: it is ignored")
            else:
                self._spoilt = error

    def _member(self, header: bytes, kind: bytes, length: int) -> None:
        place, pending, spoilt = self._place, self._pending, self._spoilt
        self._pending, self._spoilt = NOTHING, None
        length = length if pending.size is None else pending.size
        if kind in WITHOUT_DATA:
            length = 0
        start = place + BLOCK + (self._sparse_blocks(header) if kind == SPARSE else 0)
        try:
            if spoilt is not None:
                raise spoilt
            check_kind(kind, place)
            name = pending.path if pending.path is not None else header_name(header, place)
            _check_harmless(name, place)
        except TarError as error:
            self._note(error.offset, error.slug, f"{error.reason}: passed over")
            name = None
        if not self._data.reaches(start + length):
            raise _beyond(place, "a member" if name is None else repr(name), length)
        if name is not None and kind != FOLDER:
            self._held = Member(name, start, length)
        self._place = start + padded(length)

    def _sparse_blocks(self, header: bytes) -> int:
        """Bytes of the map that lies between the header of a sparse file and its data."""
        more, length = header[482], 0
        while more:
            block = self._data.read_at(self._place + BLOCK + length, BLOCK)
            length += len(block)
            more = block[504] if len(block) == BLOCK else 0
        return length

    def _lost(self, error: TarError) -> None:
        """Nothing can be told from here on: the next header that holds is where it goes on."""
        self._pending, self._spoilt = NOTHING, None
        next_header = find_header(self._data, self._data.back_to(self._behind))
        held, self._held = self._held, None
        if held is not None and (next_header is None or next_header >= held.offset + held.size):
            self.found.append(held)
            held = None
        slug, reason = error.slug, error.reason
        if held is not None:
            slug, place = "wrong_size", held.offset
            reason = f"{held.name!r} has {held.size} bytes, but another member begins within it"
        else:
            place = error.offset
        if next_header is None:
            self._note(place, *self._last_words(slug, reason))
            self.ended = True
        else:
            self._note(place, slug, f"{reason}; reading goes on at byte {next_header}")
            self._place, self._behind = next_header, next_header + 1

    def _last_words(self, slug: str, reason: str) -> tuple[str, str]:
        if not self._any:
            start = self._data.read_at(self._data.back_to(0), 8)
            packed = [name for magic, name in PACKED.items() if start.startswith(magic)]
            what = f": {packed[0]} data" if packed else ""
            return "not_a_tar", f"{reason}; no tar header in the whole file{what}"
        if slug == "size_beyond_file":
            return "truncated", f"{reason}; nothing that can be read follows"
        return slug, f"{reason}; nothing that can be read follows"

    def _zeros(self) -> None:
        """An end mark, and what comes after it."""
        self._lonely()
        start, place = self._place, self._after_zeros()
        header = self._data.read_at(place, BLOCK)
        if not header:
            self._confirm()
            self.ended = True
            if place < start + 2 * BLOCK:
                self._note(start, "no_end_mark", "one block of zeros, not two: truncated?")
            return
        try:
            if len(header) < BLOCK:
                raise TarError(place, "a part of a block", "data_after_end")
            check_header(header, place)
        except TarError as error:
            self._lost(TarError(place, f"after the end mark: {error.reason}", "data_after_end"))
        else:
            self._confirm()
            self._note(place, "joined_archives", "more members after an end mark")
            self._place = place

    def _after_zeros(self) -> int:
        """The first block that is not all zeros, or the end of the data."""
        place, size = self._place, SMALL_WINDOW
        while window := self._data.read_at(place, size):
            if rest := window.lstrip(b"\0"):
                return place + (len(window) - len(rest)) // BLOCK * BLOCK
            place += len(window)
            size = WINDOW
        return place

    def _lonely(self) -> None:
        place, self._pending, spoilt = self._pending.offset, NOTHING, self._spoilt
        self._spoilt = None
        place = spoilt.offset if spoilt is not None else place
        if place is not None:
            self._note(place, "damaged_extension", "an extended header without a member")

    def _cut(self) -> None:
        self._confirm()
        self._lonely()
        self.ended = True
        if self._place == 0 and not self._data.reaches(1):
            self._note(0, "empty_file", "an empty file")
        elif not self._any:
            self._note(0, "not_a_tar", "shorter than one tar header")
        else:
            self._note(self._place, "no_end_mark", "no end mark: truncated?")


def _check_harmless(name: str, place: int) -> None:
    check_name(name, place)
    if len(name) > MAX_NAME // 4 and len(name.encode()) > MAX_NAME:
        reason = f"a name of {len(name.encode())} bytes, {MAX_NAME} at most: {name[:60]!r}..."
        raise TarError(place, reason, "long_name")
    if not name.isprintable() and _CONTROL.search(name):
        raise TarError(place, f"control characters in {name!r}", "bad_name")
    if "\\" in name and (".." in re.split(r"[\\/]", name) or re.match(r"\\|[A-Za-z]:", name)):
        reason = f"member name {name!r} points outside the archive, on Windows"
        raise TarError(place, reason, "outside_name")


def _beyond(place: int, what: str, length: int) -> TarError:
    reason = f"{what} has {length} bytes, more than follow"
    return TarError(place, reason, "size_beyond_file")
