"""A reader of published runs, which looks into the sink all the time while others write to it.

Whatever it sees under a name that readers use (`index/<run>.parquet`, `shards/*.tar`, committed
chunks) has to be whole at that moment, and has to stay as it was first seen. It knows the layout
and nothing of noiseloom's code: it lists names and reads bytes, beside the fault proxy.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.store import S3Store

EVERY_S: Final = {"disk": 0.1, "s3": 0.4}
"""How often it looks. A look costs a listing; what has been seen whole is not read again."""


class View(Protocol):
    """A sink as anybody can look at it."""

    def names(self) -> list[str]:
        """All files, sorted, relative to the sink."""

    def read(self, name: str) -> bytes:
        """All of one file; FileNotFoundError where there is none."""

    def stamp(self, name: str) -> str:
        """Changes when the file does."""


@dataclass(frozen=True)
class DiskView:
    """A folder, with all that lies in it under whatever name."""

    folder: Path

    def names(self) -> list[str]:
        """Hidden and temporary files too."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.folder).as_posix() for path in found)

    def read(self, name: str) -> bytes:
        """Bytes."""
        return (self.folder / name).read_bytes()

    def stamp(self, name: str) -> str:
        """Inode, size and time."""
        stat = (self.folder / name).stat()
        return f"{stat.st_ino} {stat.st_size} {stat.st_mtime_ns}"


@dataclass(frozen=True)
class BucketView:
    """A bucket, seen past the proxy."""

    store: S3Store

    def names(self) -> list[str]:
        """All objects."""
        return sorted(meta["path"] for page in obstore.list(self.store) for meta in page)

    def read(self, name: str) -> bytes:
        """Bytes."""
        return bytes(obstore.get(self.store, name).bytes())

    def stamp(self, name: str) -> str:
        """The etag."""
        return str(obstore.head(self.store, name)["e_tag"])


@dataclass
class Reader:
    """What has been seen so far, and what was wrong with it."""

    view: View
    published: dict[str, bytes] = field(default_factory=dict)
    partial: list[str] = field(default_factory=list)
    looks: int = 0
    _whole: dict[str, str] = field(default_factory=dict)

    def look(self) -> None:
        """Once over all names; files that vanish while one looks are none."""
        self.looks += 1
        for name in self.view.names():
            with suppress(FileNotFoundError):
                if is_published_index(name):
                    self._index(name)
                elif name.startswith(("shards/", "rejected/")) and name.endswith(".tar"):
                    self._tar(name)
                elif name.startswith("index/_pending/") and name.endswith(".parquet"):
                    self._rows(name, self.view.read(name))

    def _index(self, name: str) -> None:
        data = self.view.read(name)
        first = self.published.setdefault(name, data)
        if data != first:
            self._wrong(f"{name} changed after it was published")
        elif name not in self._whole:
            self._whole[name] = ""
            rows = self._rows(name, data)
            for row in rows:
                self._named(name, row)

    def _named(self, index: str, row: dict[str, object]) -> None:
        if row["shard"] is None:
            return
        shard = str(row["shard"])
        try:
            self._tar(shard)
        except FileNotFoundError:
            self._wrong(f"{index} names {shard}, which is not there")

    def _rows(self, name: str, data: bytes) -> list[dict[str, object]]:
        try:
            rows: list[dict[str, object]] = pq.read_table(io.BytesIO(data)).to_pylist()
        except (pa.ArrowInvalid, OSError) as error:
            self._wrong(f"{name}: {len(data)} bytes that are no whole index: {error}")
            return []
        return rows

    def _tar(self, name: str) -> None:
        stamp = self.view.stamp(name)
        if self._whole.get(name) == stamp:
            return
        data = self.view.read(name)
        if hash_in(name) != hashlib.blake2b(data, digest_size=4).hexdigest():
            self._wrong(f"{name}: {len(data)} bytes are not those that its name tells")
        self._whole[name] = stamp

    def _wrong(self, what: str) -> None:
        if what not in self.partial:
            self.partial.append(what)


def is_published_index(name: str) -> bool:
    """`index/<run>.parquet`, as readers find them."""
    return name.startswith("index/") and name.endswith(".parquet") and name.count("/") == 1


def hash_in(name: str) -> str:
    """`shards/<chunk>.<8 hex>.tar` -> the 8 hex digits."""
    return name.split(".")[-2]


@contextmanager
def reading(view: View) -> Iterator[Reader]:
    """A reader that looks in its own thread inside the block, and once more at the end of it."""
    reader, over = Reader(view), threading.Event()
    every = EVERY_S["disk" if isinstance(view, DiskView) else "s3"]
    failed: list[BaseException] = []

    def look() -> None:
        try:
            while not over.wait(every):
                reader.look()
        except BaseException as error:  # noqa: BLE001 - shown by the thread that waits
            failed.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield reader
    finally:
        over.set()
        thread.join()
    if failed:
        raise failed[0]
    reader.look()
