"""A file in a store as Python's seekable files are: for readers that know nothing of stores.

Parquet asks for a footer and for some columns: of an index of a million rows, a tenth of the bytes.
"""

from __future__ import annotations

import io

from pipeline.storage.store import Store


class RangedFile(io.RawIOBase):
    """Reads of one file in a store, each of exactly the bytes asked for."""

    def __init__(self, store: Store, path: str) -> None:
        super().__init__()
        self._store, self._path = store, path
        self._size, self._at = store.size(path), 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves there, and says where that is."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """So many bytes, or all that follow."""
        rest = max(0, self._size - self._at)
        size = rest if size < 0 else min(size, rest)
        data = self._store.read(self._path, self._at, size)
        self._at += len(data)
        return data
