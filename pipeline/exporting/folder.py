"""A folder that appears when all is in it, and the names of files in it.

It is written as `<out>.exporting` beside it. An export that was killed leaves that behind, with a
mark of ours in it, and the next one empties it; what has no mark is not touched.
"""

from __future__ import annotations

import fcntl
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pipeline.importing.writing import check_free
from schemas.errors import SinkError

MARK: Final = ".noiseloom-export"
_ODD: Final = re.compile(r"[^\w-]+")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `out` at the end of the block if nothing was raised.

    SinkError where `out` holds something, or cannot be written.
    """
    check_free(out)
    building = out.with_name(f"{out.name}.exporting")
    try:
        with _locked(building):
            yield building
            check_free(out)
            (building / MARK).unlink()
            building.rename(out)
    except OSError as error:
        says = error.strerror or str(error)
        raise SinkError(f"{error.filename or out}: cannot be written: {says}") from error


@contextmanager
def _locked(building: Path) -> Iterator[None]:
    """The folder, empty but for the mark, which this process holds."""
    if building.exists() and not (building / MARK).is_file():
        says = "is needed to write into, and no export has left it there; move it away"
        raise SinkError(f"{building}: {says}")
    building.mkdir(parents=True, exist_ok=True)
    with (building / MARK).open("a") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            says = "another export is writing here; wait for it"
            raise SinkError(f"{building}: {says}") from None
        for path in building.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != MARK:
                path.unlink()
        yield


class FileNames:
    """File names for keys: letters, digits, _ and -, each once; the same keys give the same."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def of(self, key: str) -> str:
        """`"train/a b-000"` -> `"train_a_b-000"`, and `"train_a_b-000-2"` where that is taken."""
        plain = name = _ODD.sub("_", key)
        while name in self._taken:
            self._taken[plain] += 1
            name = f"{plain}-{self._taken[plain]}"
        self._taken[name] = 1
        return name
