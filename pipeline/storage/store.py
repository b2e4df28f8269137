"""Where bytes are: a local folder or a place in an object store, behind one small value.

    Store("data/bccd")   Store("file:///data/bccd")   Store("s3://lab/cells")   gs://   az://   memory://

Promises: `read` returns exactly the bytes asked for or raises OSError; `create` is atomic and never
replaces anything, so that of two writers exactly one succeeds (a conditional PUT; on a disk a
temporary file, fsync, link, fsync of the folder). In an object store, what may pass is tried again
for a while (`retrying.py`): a 503, a time-out, a connection that breaks, also in the middle of a
body; what is raised then will not pass by itself within minutes.

Every trouble is an OSError with one line of text, a name and an errno, and no secret in it:
PermissionError, FileNotFoundError, ENOSPC, EROFS, ENODEV (no such bucket), ESTALE (it has changed),
EIO. `trouble.storage_error` makes of it what a user is told.

A Store is only a URL, and travels between processes; the connection is opened where it is used,
once per process. Credentials, regions and endpoints come from the environment, in the variables
that each cloud's own tools read, and never from the URL, which plans and indexes show to everyone.
`memory://name` lives as long as the process: it is for tests.
"""

from __future__ import annotations

import errno
import os
import posixpath
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote, unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import LocalStore, MemoryStore, ObjectStore

from pipeline.storage.cloud_errors import TransientError, status_of
from pipeline.storage.clouds import open_cloud
from pipeline.storage.local_files import create_file, delete_file, read_file
from pipeline.storage.retrying import patiently, read_range

SCHEMES: Final = ("file", "s3", "gs", "az", "memory")
SHARED: Final = ("s3", "gs", "az")

BULK: Final = 1000
"""Names in one request to delete: the most that S3 takes."""

_SECRET: Final = re.compile(r"[?&](sig|se|[\w-]*(signature|token|credential|key))=", re.IGNORECASE)

ResultT = TypeVar("ResultT")


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
        if scheme in SHARED and ("@" in urlsplit(self.url).netloc or _SECRET.search(self.url)):
            raise ValueError(
                f"{scheme}://...: a URL is no place for credentials: set them in the environment"
            )

    @property
    def local(self) -> Path | None:
        """The folder on this machine's disk, or None where the store is elsewhere."""
        scheme = _scheme(self.url)
        if scheme == "file":
            return Path(unquote(urlsplit(self.url).path))
        return None if scheme else Path(self.url)

    @property
    def shared(self) -> bool:
        """Whether every machine of a cluster finds the same files here. A folder may be on a
        network disk, but nothing says so.
        """
        return _scheme(self.url) in SHARED

    def read(
        self, path: str, offset: int = 0, size: int | None = None, version: str | None = None
    ) -> bytes:
        """`size` bytes from `offset`, or all that follow. Fewer than asked for is an OSError.

        All are of one version of the file: of `version` (`Stat.version`) if that is given, of the
        version met first if not; OSError(ESTALE) where it changes meanwhile. On a disk only a
        `version` that is given is checked, after the reading.
        """
        if size == 0:
            return b""
        if (folder := self.local) is not None:
            data = read_file(folder / _checked(path), offset, size)
            if version is not None and self.stat(path).version != version:
                raise OSError(errno.ESTALE, "it has changed since it was planned", self.at(path))
            return data
        inside, where = self._inside(path), self.at(path)
        return read_range(lambda: _open(self.url), inside, offset, size, where, version)

    def stat(self, path: str) -> Stat:
        """Size and version of one file; FileNotFoundError where there is none."""

        def head(store: ObjectStore) -> Stat:
            meta = obstore.head(store, self._inside(path))
            return Stat(
                meta["size"], str(meta["e_tag"] or meta["version"] or meta["last_modified"])
            )

        def get(store: ObjectStore) -> None:
            obstore.get(store, self._inside(path), options={"range": (0, 1)})

        try:
            return self._patiently(path, head)
        except (FileNotFoundError, TransientError):
            raise
        except OSError:
            if not self.shared:
                raise
            self._patiently(path, get)  # the answer to a HEAD has no body: GET is told the reason
            raise

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

        def look(store: ObjectStore) -> list[str]:
            found = obstore.list_with_delimiter(store, prefix=self._inside(folder) or None)
            names = [posixpath.basename(meta["path"]) for meta in found["objects"]]
            return names + [posixpath.basename(path) + "/" for path in found["common_prefixes"]]

        return sorted(self._patiently(folder, look))

    def list(self, prefix: str) -> list[str]:
        """All files below the folder `prefix` ("" for all), sorted, relative to the store."""

        def look(store: ObjectStore) -> list[str]:
            stream = obstore.list(store, prefix=self._inside(prefix) or None)
            return [self._outside(meta["path"]) for batch in stream for meta in batch]

        return sorted(self._patiently(prefix, look))

    def times(self, prefix: str) -> dict[str, datetime]:
        """As `list`, with when each file was last written, by the store's clock."""

        def look(store: ObjectStore) -> dict[str, datetime]:
            stream = obstore.list(store, prefix=self._inside(prefix) or None)
            return {
                self._outside(meta["path"]): meta["last_modified"]
                for batch in stream
                for meta in batch
            }

        return self._patiently(prefix, look)

    def create(self, path: str, data: bytes) -> bool:
        """Writes a new file atomically. False, and nothing changed, where its name is taken.

        In an object store False may also mean that it was taken by this very call: the PUT was
        applied, its answer was lost, and the second try found the name taken. So whoever gets False
        and cares whose file it is compares the content.
        """
        if (folder := self.local) is not None:
            return create_file(folder / _checked(path), data)

        def put(store: ObjectStore) -> bool:
            try:
                obstore.put(store, self._inside(path), data, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError) as error:
                # 412: taken. 409 is Azure's word for the same, but S3's for two requests that met,
                # after which there may be no such file: then it is tried again.
                if status_of(error) == 409 and not self.exists(path):
                    text = "the store answered 409, another request was in the way"
                    raise TransientError(errno.EIO, text, self.at(path)) from None
                return False
            return True

        return self._patiently(path, put, sending=len(data))

    def delete(self, path: str) -> None:
        """Removes one file; none there is fine, as it is on object stores."""
        self.delete_many([path])

    def delete_many(self, paths: Sequence[str]) -> None:
        """Removes files; where one is not there, that is fine. Up to 1000 in one request."""
        if (folder := self.local) is not None:
            for path in paths:
                delete_file(folder / _checked(path))
            return
        for start in range(0, len(paths), BULK):
            some = paths[start : start + BULK]
            try:
                self._delete(some)
            except FileNotFoundError:  # Google and Azure stop at the first that is not there
                for path in some:
                    with suppress(FileNotFoundError):
                        self._delete([path])

    def _delete(self, paths: Sequence[str]) -> None:
        inside = [self._inside(path) for path in paths]
        where = paths[0] if len(paths) == 1 else ""
        self._patiently(where, lambda store: obstore.delete(store, inside))

    def _patiently(
        self, path: str, action: Callable[[ObjectStore], ResultT], sending: int = 0
    ) -> ResultT:
        return patiently(self.at(path), lambda: action(_open(self.url, sending)))

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


def _checked(path: str) -> str:
    """A path inside the store, as object stores have no others: an index may say `../../x`."""
    if path.startswith("/") or ".." in path.split("/"):
        raise OSError(errno.EINVAL, "not a path inside the store", path)
    return path


def _open(url: str, sending: int = 0) -> ObjectStore:
    shared = _scheme(url) in SHARED
    if shared and _used_by - {os.getpid()}:
        says = "a forked process cannot read it: start workers with forkserver or spawn"
        raise OSError(errno.ENOTSUP, says, url)
    _used_by.add(os.getpid())
    return open_cloud(url, sending) if shared else _open_here(url)


_used_by: Final[set[int]] = set()
"""The process that obstore's threads are in: they are started once, for all stores. A fork finds
the note of its parent here, and would wait for ever for threads that it does not have.
"""


@lru_cache(maxsize=64)
def _open_here(url: str) -> ObjectStore:
    return MemoryStore() if _scheme(url) == "memory" else LocalStore()
