"""Tars: a strict walker over the headers, and a writer whose bytes depend on nothing but its input.

The walker reads ustar, GNU long names and PAX, as GNU tar, bsdtar, Python and webdataset write it.
It yields regular members and passes over folders. Everything else is a TarError with its offset:
links, devices, sparse files, compressed or damaged archives, an archive without its end mark, data
after that mark, sizes that do not fit, names that point outside. Python's tarfile is not used for
reading: it ends quietly at some kinds of damage, and samples are lost.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from schemas.index import Member

BLOCK = 512
RECORD = 20 * BLOCK  # archives are padded to this, as GNU tar and tarfile do
MAX_EXTENSION = 64 * 1024  # bytes of a long name or of a PAX header; Linux paths end at 4096
MAX_SIZE = 2**53
FOLDER = b"5"

ReadAt = Callable[[int, int], bytes]
"""(offset, size) -> bytes; the walker asks for offsets that only grow."""

_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a pipe",
    b"S": "a sparse file",
    b"M": "part of a file that spans volumes",
    b"D": "an incremental dump's folder",
}
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


class TarError(Exception):
    """What is wrong with an archive, and at which byte."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"at byte {offset}: {reason}")
        self.offset = offset
        self.reason = reason


def walk(read_at: ReadAt, size: int) -> Iterator[Member]:
    """The regular members of an archive of `size` bytes, in order; offsets are of their data."""
    position, pending = 0, _Pending()
    while any(header := _read(read_at, position, BLOCK, size)):
        _check_header(header, position)
        kind = header[156:157]
        if kind in b"xgLK":
            data = _extension(read_at, header, position, size)
            pending, length = pending.take(kind, data, position), len(data)
        else:
            member = _member(header, kind, pending, position, size)
            if kind != FOLDER:
                yield member
            pending, length = _Pending(), member.size
        position += BLOCK + _padded(length)
    if pending.offset is not None:
        raise TarError(pending.offset, "an extended header without a member")
    _check_end(read_at, position, size)


@dataclass(frozen=True)
class _Pending:
    """What extended headers said of the member that follows them."""

    path: str | None = None
    size: int | None = None
    offset: int | None = None

    def take(self, kind: bytes, data: bytes, offset: int) -> _Pending:
        if kind == b"K":  # the target of a link, which is refused when it comes
            return _Pending(self.path, self.size, offset)
        if kind == b"L":
            return _Pending(_text(data.rstrip(b"\0"), offset), self.size, offset)
        records = _pax(data, offset)
        if any(name.startswith("GNU.sparse") for name in records):
            raise TarError(offset, "a sparse file")
        if kind == b"g":
            if "path" in records or "size" in records:
                raise TarError(offset, "a global header that renames or resizes members")
            return self
        return _Pending(
            records.get("path", self.path), _pax_size(records, self.size, offset), offset
        )


def _member(header: bytes, kind: bytes, pending: _Pending, position: int, size: int) -> Member:
    if kind in _KINDS:
        raise TarError(position, f"{_KINDS[kind]}: only regular files and folders are read")
    if kind not in b"0\x007" and kind != FOLDER:
        raise TarError(position, f"a member of unknown type {kind!r}")
    name = pending.path if pending.path is not None else _header_name(header, position)
    length = pending.size if pending.size is not None else _number(header[124:136], position)
    length = 0 if kind == FOLDER else length
    _check_name(name, position)
    if position + BLOCK + length > size:
        raise TarError(position, f"{name!r} has {length} bytes, more than follow: truncated?")
    return Member(name, position + BLOCK, length)


def _check_header(header: bytes, position: int) -> None:
    if position == 0:
        for magic, name in _COMPRESSED.items():
            if header.startswith(magic):
                raise TarError(0, f"{name} data; shards must be plain tars, to be read in ranges")
    # POSIX: the sum of all bytes, with blanks in place of the checksum itself.
    expected = sum(header) - sum(header[148:156]) + 8 * 0x20
    try:
        stated = int(header[148:156].strip(b" \0"), 8)
    except ValueError:
        stated = -1
    if stated != expected:
        raise TarError(position, "not a tar header (its checksum is wrong)")
    if header[257:262] != b"ustar":
        raise TarError(position, "a tar older than ustar; write it again with a current tool")


def _check_name(name: str, position: int) -> None:
    if not name or "\0" in name:
        raise TarError(position, f"an impossible member name {name!r}")
    if name.startswith("/") or ".." in name.split("/"):
        raise TarError(position, f"member name {name!r} points outside the archive")


def _check_end(read_at: ReadAt, position: int, size: int) -> None:
    """Two blocks of zeros end an archive, and only zeros may follow."""
    if position + 2 * BLOCK > size:
        raise TarError(position, "no end mark: truncated?")
    while position < size:
        data = read_at(position, min(RECORD, size - position))
        if any(data):
            raise TarError(position, "data after the end mark: joined archives are not read")
        position += len(data)


def _read(read_at: ReadAt, offset: int, length: int, size: int) -> bytes:
    if offset + length > size:
        where = "an empty file" if size == 0 else "no end mark: truncated?"
        raise TarError(offset, where)
    return read_at(offset, length)


def _extension(read_at: ReadAt, header: bytes, position: int, size: int) -> bytes:
    length = _number(header[124:136], position)
    if length > MAX_EXTENSION:
        raise TarError(position, f"an extended header of {length} bytes; {MAX_EXTENSION} at most")
    return _read(read_at, position + BLOCK, _padded(length), size)[:length]


def _header_name(header: bytes, position: int) -> str:
    name = header[:100].split(b"\0")[0]
    if header[257:265] == b"ustar\x0000" and header[345]:  # GNU keeps times in the prefix's place
        name = header[345:500].split(b"\0")[0] + b"/" + name
    return _text(name, position)


def _number(data: bytes, position: int) -> int:
    """Octal text, or base 256 where the first bit is set (GNU, from 8 GiB up)."""
    if data[0] == 0x80:
        value = int.from_bytes(data[1:], "big")
    else:
        text = data.strip(b" \0")
        if not all(byte in b"01234567" for byte in text):
            raise TarError(position, f"a size that is no number: {data!r}")
        value = int(text or b"0", 8)
    if value > MAX_SIZE:
        raise TarError(position, f"an impossible size: {value}")
    return value


def _pax(data: bytes, offset: int) -> dict[str, str]:
    """Records `<length> <name>=<value>` and a newline; the length is that of the whole record."""
    records: dict[str, str] = {}
    while data:
        head, blank, _ = data.partition(b" ")
        length = int(head) if blank and head.isdigit() and len(head) < 8 else 0
        record = data[len(head) + 1 : length]
        name, equals, value = record.partition(b"=")
        if length > len(data) or not equals or not record.endswith(b"\n"):
            raise TarError(offset, "a damaged PAX header")
        if name in (b"path", b"size") or name.startswith(b"GNU.sparse"):
            records[_text(name, offset)] = _text(value[:-1], offset)
        data = data[length:]
    return records


def _pax_size(records: dict[str, str], default: int | None, offset: int) -> int | None:
    text = records.get("size")
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MAX_SIZE):
        raise TarError(offset, f"a size that is no number: {text!r}")
    return int(text)


def _text(data: bytes, offset: int) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise TarError(offset, f"a name that is not UTF-8: {data[:80]!r}") from None


def _padded(length: int) -> int:
    return -(-length // BLOCK) * BLOCK


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
        padding = bytes(_padded(len(data)) - len(data))
        members.append(Member(name, position + len(header), len(data)))
        parts += [header, data, padding]
        position += len(header) + len(data) + len(padding)
    end = -(-(position + 2 * BLOCK) // RECORD) * RECORD
    return b"".join([*parts, bytes(end - position)]), members
