"""Files on a disk: read in ranges, and created whole, durably and only once.

`create_file` writes a temporary file, syncs it, links it under its name and syncs the folder:
after a crash of the machine there is the whole file or none, and of two writers one succeeds. Every
trouble is an OSError with its errno and the file's name: a full disk leaves nothing behind, and
what the disk reports at the sync is an error like any other.
"""

from __future__ import annotations

import errno
import itertools
import os
from contextlib import suppress
from pathlib import Path

_serial = itertools.count()


def read_file(path: Path, offset: int, size: int | None) -> bytes:
    """`size` bytes from `offset`, or all that follow; fewer than asked for is an OSError."""
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        if size is None:
            return file.readall()
        data = file.read(size) or b""
        while len(data) < size and (more := file.read(size - len(data))):  # a read may be short
            data += more
    if len(data) != size:
        text = f"{len(data)} bytes at {offset}, expected {size}"
        raise OSError(errno.EIO, text, str(path))
    return data


def create_file(path: Path, data: bytes) -> bool:
    """Create-only, atomic and durable: obstore's own local put does not sync (strace, 0.12.1)."""
    try:
        _make_folder(path.parent)
        return _create(path, data)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None


def delete_file(path: Path) -> None:
    """Removes a file; none there is fine."""
    path.unlink(missing_ok=True)


def _create(path: Path, data: bytes) -> bool:
    # "#" and digits: obstore's own local listings leave such names out, so what a killed writer
    # leaves behind is never taken for a file.
    temporary = path.with_name(f"{path.name}#{os.getpid()}{next(_serial):06d}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)  # a network disk may report here that it is full
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        with suppress(OSError):  # the first trouble is the one to tell of
            temporary.unlink()
    _sync_folder(path.parent)
    return True


def _make_folder(folder: Path) -> None:
    """Makes it and what is missing above it; each is durable in its parent."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make_folder(folder.parent)
    with suppress(FileExistsError):  # somebody else made it just now; if it is a file, open tells
        folder.mkdir()
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
