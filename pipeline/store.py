"""Where bytes are: a local folder or a place in an object store, behind one small value.

    Store("data/bccd")   Store("file:///data/bccd")   Store("s3://lab/cells")   gs://   az://   memory://

Promises: `read` returns exactly the bytes asked for or raises OSError; `create` is atomic and never
replaces anything, so that of two writers exactly one succeeds (a conditional PUT; on a disk a
temporary file, fsync, link, fsync of the folder). A Store is only a URL, and travels between
processes; the connection is opened where it is used, once per process. Credentials, regions and
endpoints come from the environment, in the variables that each cloud's own tools read.
`memory://name` lives as long as the process: it is for tests.
"""

from __future__ import annotations

import itertools
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, MemoryStore, ObjectStore, from_url

SCHEMES = ("file", "s3", "gs", "az", "memory")

_serial = itertools.count()


@dataclass(frozen=True)
class Stat:
    """What a store says of one file. `version`, an etag, changes whenever the content may have."""

    size: int
    version: str


@dataclass(frozen=True)
class Store:
    """A folder, by its URL or local path. All paths are relative to it, with forward slashes."""

    url: str

    def __post_init__(self) -> None:
        scheme = _scheme(self.url)
        if scheme and scheme not in SCHEMES:
            legal = ", ".join(SCHEMES)
            raise ValueError(f"{self.url}: {scheme!r} is none of {legal}, nor a local path")

    @property
    def local(self) -> Path | None:
        """The folder on this machine's disk, or None where the store is elsewhere."""
        scheme = _scheme(self.url)
        if scheme == "file":
            return Path(unquote(urlsplit(self.url).path))
        return None if scheme else Path(self.url)

    def read(self, path: str, offset: int = 0, size: int | None = None) -> bytes:
        """`size` bytes from `offset`, or all that follow. Fewer than asked for is an OSError."""
        if size == 0:
            return b""
        with _plain_errors():
            store, inside = _open(self.url), self._inside(path)
            if size is None:
                return bytes(obstore.get(store, inside).bytes())[offset:]
            data = bytes(obstore.get_range(store, inside, start=offset, length=size))
        if len(data) != size:
            raise OSError(f"{self.at(path)}: {len(data)} bytes at {offset}, expected {size}")
        return data

    def stat(self, path: str) -> Stat:
        """Size and version of one file; FileNotFoundError where there is none."""
        with _plain_errors():
            meta = obstore.head(_open(self.url), self._inside(path))
        return Stat(meta["size"], str(meta["version"] or meta["e_tag"] or meta["last_modified"]))

    def size(self, path: str) -> int:
        """Bytes of one file."""
        return self.stat(path).size

    def exists(self, path: str) -> bool:
        """Whether there is a file of this name."""
        try:
            self.stat(path)
        except FileNotFoundError:
            return False
        return True

    def entries(self, folder: str) -> list[str]:
        """The names directly in `folder`, sorted; those of folders end with a slash."""
        with _plain_errors():
            prefix = self._inside(folder) or None
            found = obstore.list_with_delimiter(_open(self.url), prefix=prefix)
        names = [posixpath.basename(meta["path"]) for meta in found["objects"]]
        folders = [posixpath.basename(path) + "/" for path in found["common_prefixes"]]
        return sorted(names + folders)

    def create(self, path: str, data: bytes) -> bool:
        """Writes a new file atomically. False, and nothing changed, where its name is taken."""
        folder = self.local
        if folder is not None:
            return _create_file(folder / path, data)
        with _plain_errors():
            try:
                obstore.put(_open(self.url), path, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def delete(self, path: str) -> None:
        """Removes one file; none there is fine, as it is on object stores."""
        with _plain_errors(), suppress(FileNotFoundError):
            obstore.delete(_open(self.url), self._inside(path))

    def at(self, path: str) -> str:
        """The full URL of a path, for messages and for `split_url`."""
        path = quote(path) if _scheme(self.url) == "file" else path
        return path if self.url == "." else f"{self.url.rstrip('/')}/{path}"

    def _root(self) -> str:
        # A local store is opened at the root of the disk: obstore refuses a folder not there yet.
        folder = self.local
        return "" if folder is None else os.path.abspath(folder).strip("/")  # noqa: PTH100 - keeps links

    def _inside(self, path: str) -> str:
        return posixpath.join(self._root(), path).rstrip("/")

    def _outside(self, path: str) -> str:
        root = self._root()
        return path[len(root) + 1 :] if root else path

    def list(self, prefix: str) -> list[str]:
        """All files below the folder `prefix` ("" for all), sorted, relative to the store."""
        with _plain_errors():
            stream = obstore.list(_open(self.url), prefix=self._inside(prefix) or None)
            return sorted(self._outside(meta["path"]) for batch in stream for meta in batch)


def split_url(url: str) -> tuple[str, str]:
    """`"s3://lab/cells/a.tar"` -> `("s3://lab/cells", "a.tar")`; a bare file name is in `"."`."""
    folder, _, name = url.rpartition("/")
    if not folder:
        folder = "/" if url.startswith("/") else "."
    if not name or folder.endswith(":/"):
        raise ValueError(f"{url!r} does not name a file")
    return folder, unquote(name) if _scheme(url) == "file" else name


def _scheme(url: str) -> str:
    head, separator, _ = url.partition("://")
    return head if separator else ""


@lru_cache(maxsize=64)
def _open(url: str) -> ObjectStore:
    match _scheme(url):
        case "" | "file":
            return LocalStore()
        case "memory":
            return MemoryStore()
        case _:
            return from_url(url)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Every trouble of a store as an OSError with one line of text."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(_first_line(error)) from None
    except BaseError as error:
        raise OSError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _create_file(path: Path, data: bytes) -> bool:
    """Create-only, atomic and durable: obstore's own local put does not sync (strace, 0.12.1)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # "#" and digits: obstore's local listings leave such names out, so what a killed writer
    # leaves behind is never taken for a file.
    temporary = path.with_name(f"{path.name}#{os.getpid()}{next(_serial):06d}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True
