"""One header of a tar: 512 bytes, their checksum, and what they say (ustar, GNU long names, PAX).

The strict walk (`tar.py`) ends at the first TarError, the tolerant one (`salvage.py`) goes on after
it. Its slug, fixed and countable, says what was there:

    damaged_header, old_format, bad_size             a header that cannot be used
    long_extension, damaged_extension                a PAX or GNU header in front of a member
    global_rename                                    a PAX header that renames all that follow
    link, device, pipe, sparse_file, unknown_type    a member that is no regular file
    bad_name, outside_name, name_not_utf8            a name that no file should have
    size_beyond_file, no_end_mark, empty_file, data_after_end    an archive that ends wrongly
"""

from __future__ import annotations

from dataclasses import dataclass

BLOCK = 512
MAX_EXTENSION = 64 * 1024  # bytes of a long name or of a PAX header; Linux paths end at 4096
MAX_SIZE = 2**53
FOLDER = b"5"
SPARSE = b"S"
EXTENSIONS = (b"x", b"g", b"L", b"K")

KINDS = {
    b"1": ("link", "a hard link"),
    b"2": ("link", "a symbolic link"),
    b"3": ("device", "a character device"),
    b"4": ("device", "a block device"),
    b"6": ("pipe", "a pipe"),
    SPARSE: ("sparse_file", "a sparse file"),
    b"M": ("unknown_type", "part of a file that spans volumes"),
    b"D": ("unknown_type", "an incremental dump's folder"),
    b"V": ("unknown_type", "the label of a volume"),
}
WITHOUT_DATA = b"123456V"
"""Whatever size the headers of these state, nothing lies behind them."""

PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
"""How compressed files begin."""


class TarError(Exception):
    """What is wrong with an archive, and at which byte."""

    def __init__(self, offset: int, reason: str, slug: str) -> None:
        super().__init__(f"at byte {offset}: {reason}")
        self.offset = offset
        self.reason = reason
        self.slug = slug


@dataclass(frozen=True)
class Extension:
    """What extended headers said of the member that follows them."""

    path: str | None = None
    size: int | None = None
    offset: int | None = None

    def take(self, kind: bytes, data: bytes, offset: int) -> Extension:
        """With the content of one more of them."""
        if kind == b"K":  # the target of a link, which is refused when it comes
            return Extension(self.path, self.size, offset)
        if kind == b"L":
            return Extension(_text(data.rstrip(b"\0"), offset), self.size, offset)
        records = _pax(data, offset)
        if any(name.startswith("GNU.sparse") for name in records):
            raise TarError(offset, "a sparse file", "sparse_file")
        if kind == b"g":
            if "path" in records or "size" in records:
                reason = "a global header that renames or resizes members"
                raise TarError(offset, reason, "global_rename")
            return self
        return Extension(
            records.get("path", self.path), _pax_size(records, self.size, offset), offset
        )


NOTHING = Extension()
"""No extended header."""


def check_header(header: bytes, position: int) -> None:
    """Checksum and magic; TarError where these 512 bytes are no header."""
    # POSIX: the sum of all bytes, with blanks in place of the checksum itself.
    expected = sum(header) - sum(header[148:156]) + 8 * 0x20
    try:
        stated = int(header[148:156].strip(b" \0"), 8)
    except ValueError:
        stated = -1
    if stated != expected:
        raise TarError(position, "not a tar header (its checksum is wrong)", "damaged_header")
    if header[257:262] != b"ustar":
        reason = "a tar older than ustar; write it again with a current tool"
        raise TarError(position, reason, "old_format")


def check_kind(kind: bytes, position: int) -> None:
    """TarError where it is neither a regular file nor a folder."""
    if kind in KINDS:
        slug, what = KINDS[kind]
        raise TarError(position, f"{what}: only regular files and folders are read", slug)
    if kind not in b"0\x007" and kind != FOLDER:
        raise TarError(position, f"a member of unknown type {kind!r}", "unknown_type")


def check_name(name: str, position: int) -> None:
    """TarError where a name is none, or points outside the archive."""
    if not name or "\0" in name:
        raise TarError(position, f"an impossible member name {name!r}", "bad_name")
    if name.startswith("/") or (".." in name and ".." in name.split("/")):
        reason = f"member name {name!r} points outside the archive"
        raise TarError(position, reason, "outside_name")


def header_name(header: bytes, position: int) -> str:
    """The name in the header itself."""
    name = header[:100].partition(b"\0")[0]
    if header[257:265] == b"ustar\x0000" and header[345]:  # GNU keeps times in the prefix's place
        name = header[345:500].partition(b"\0")[0] + b"/" + name
    return _text(name, position)


def header_size(header: bytes, position: int) -> int:
    """Bytes of data: octal text, or base 256 where the first bit is set (GNU, from 8 GiB up)."""
    data = header[124:136]
    if data[0] == 0x80:
        value = int.from_bytes(data[1:], "big")
    else:
        text = data.strip(b" \0")
        if text and not (text.isdigit() and b"8" not in text and b"9" not in text):
            raise TarError(position, f"a size that is no number: {data!r}", "bad_size")
        value = int(text or b"0", 8)
    if value > MAX_SIZE:
        raise TarError(position, f"an impossible size: {value}", "bad_size")
    return value


def padded(length: int) -> int:
    """Data fills whole blocks."""
    return -(-length // BLOCK) * BLOCK


def _pax(data: bytes, offset: int) -> dict[str, str]:
    """Records `<length> <name>=<value>` and a newline; the length is that of the whole record."""
    records: dict[str, str] = {}
    place = 0
    while place < len(data):
        head, blank, _ = data[place : place + 8].partition(b" ")
        length = int(head) if blank and head.isdigit() else 0
        record = data[place + len(head) + 1 : place + length]
        name, equals, value = record.partition(b"=")
        if place + length > len(data) or not equals or not record.endswith(b"\n"):
            raise TarError(offset, "a damaged PAX header", "damaged_extension")
        if name in (b"path", b"size") or name.startswith(b"GNU.sparse"):
            records[_text(name, offset)] = _text(value[:-1], offset)
        place += length
    return records


def _pax_size(records: dict[str, str], default: int | None, offset: int) -> int | None:
    text = records.get("size")
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MAX_SIZE):
        raise TarError(offset, f"a size that is no number: {text[:80]!r}", "damaged_extension")
    return int(text)


def _text(data: bytes, offset: int) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        reason = f"a name that is not UTF-8: {data[:80]!r}"
        raise TarError(offset, reason, "name_not_utf8") from None
