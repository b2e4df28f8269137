"""Tars of our own: a strict walk over the headers, and a writer whose bytes depend on nothing but
its input.

The walk reads ustar, GNU long names and PAX, as GNU tar, bsdtar, Python and webdataset write it. It
yields regular members and passes over folders. Everything else is a TarError with its offset:
links, devices, sparse files, compressed or damaged archives, an archive without its end mark, data
after that mark, sizes that do not fit, names that point outside. It is for what we wrote ourselves,
where anything odd is damage; other people's shards are read by `salvage.py`. Python's tarfile is
not used for reading: it ends quietly at some kinds of damage, and samples are lost.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Iterator

from pipeline.tars.header import (
    BLOCK,
    EXTENSIONS,
    FOLDER,
    MAX_EXTENSION,
    NOTHING,
    PACKED,
    Extension,
    TarError,
    check_header,
    check_kind,
    check_name,
    header_name,
    header_size,
    padded,
)
from schemas.index import Member

__all__ = ["BLOCK", "RECORD", "ReadAt", "TarError", "walk", "write_tar"]

RECORD = 20 * BLOCK  # archives are padded to this, as GNU tar and tarfile do

ReadAt = Callable[[int, int], bytes]
"""(offset, size) -> bytes; the walk asks for offsets that only grow."""


def walk(read_at: ReadAt, size: int) -> Iterator[Member]:
    """The regular members of an archive of `size` bytes, in order; offsets are of their data."""
    position, pending = 0, NOTHING
    while any(header := _read(read_at, position, BLOCK, size)):
        _check_packed(header, position)
        check_header(header, position)
        kind = header[156:157]
        if kind in EXTENSIONS:
            data = _extension(read_at, header, position, size)
            pending, length = pending.take(kind, data, position), len(data)
        else:
            member = _member(header, kind, pending, position, size)
            if kind != FOLDER:
                yield member
            pending, length = NOTHING, member.size
        position += BLOCK + padded(length)
    if pending.offset is not None:
        reason = "an extended header without a member"
        raise TarError(pending.offset, reason, "damaged_extension")
    _check_end(read_at, position, size)


def _member(header: bytes, kind: bytes, pending: Extension, position: int, size: int) -> Member:
    check_kind(kind, position)
    name = pending.path if pending.path is not None else header_name(header, position)
    length = pending.size if pending.size is not None else header_size(header, position)
    length = 0 if kind == FOLDER else length
    check_name(name, position)
    if position + BLOCK + length > size:
        reason = f"{name!r} has {length} bytes, more than follow: truncated?"
        raise TarError(position, reason, "size_beyond_file")
    return Member(name, position + BLOCK, length)


def _check_packed(header: bytes, position: int) -> None:
    if position == 0:
        for magic, name in PACKED.items():
            if header.startswith(magic):
                reason = f"{name} data; shards must be plain tars, to be read in ranges"
                raise TarError(0, reason, "damaged_header")


def _check_end(read_at: ReadAt, position: int, size: int) -> None:
    """Two blocks of zeros end an archive, and only zeros may follow."""
    if position + 2 * BLOCK > size:
        raise TarError(position, "no end mark: truncated?", "no_end_mark")
    while position < size:
        data = read_at(position, min(RECORD, size - position))
        if any(data):
            reason = "data after the end mark: joined archives are not read"
            raise TarError(position, reason, "data_after_end")
        position += len(data)


def _read(read_at: ReadAt, offset: int, length: int, size: int) -> bytes:
    if offset + length > size:
        if size == 0:
            raise TarError(offset, "an empty file", "empty_file")
        raise TarError(offset, "no end mark: truncated?", "no_end_mark")
    return read_at(offset, length)


def _extension(read_at: ReadAt, header: bytes, position: int, size: int) -> bytes:
    length = header_size(header, position)
    if length > MAX_EXTENSION:
        reason = f"an extended header of {length} bytes; {MAX_EXTENSION} at most"
        raise TarError(position, reason, "long_extension")
    return _read(read_at, position + BLOCK, padded(length), size)[:length]


def write_tar(files: Iterable[tuple[str, bytes]]) -> tuple[bytes, list[Member]]:
    """An archive of these (name, bytes), in this order, and where each lies in it.

    Time, owner and mode are fixed. Plain ustar, but for names that it cannot hold (long or not
    ASCII): those have a PAX header in front.
    """
    parts: list[bytes] = []
    members: list[Member] = []
    position = 0
    for name, data in files:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
        padding = bytes(padded(len(data)) - len(data))
        members.append(Member(name, position + len(header), len(data)))
        parts += [header, data, padding]
        position += len(header) + len(data) + len(padding)
    end = -(-(position + 2 * BLOCK) // RECORD) * RECORD
    return b"".join([*parts, bytes(end - position)]), members
