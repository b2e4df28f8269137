"""Samples -> a folder of shards, all of it or nothing.

Everything is written into `<out>.importing` beside the folder, which takes its name when all is
done: an import that is killed leaves no folder that looks finished, and the next one begins anew.
The same samples give the same bytes. A shard ends at so many samples, or at 256 MiB, whichever is
first: it is in memory until it is written.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pipeline.importing.files import listing
from pipeline.importing.packing import Packed
from pipeline.tars.tar import write_tar
from schemas.errors import SinkError

MAX_BYTES: Final = 256 * 2**20
ORDER: Final = ("train", "val", "test")

_OURS: Final = (".tar", ".json", ".md")


@dataclass
class SplitTally:
    """What is in the shards of one split."""

    shards: list[dict[str, object]] = field(default_factory=list)
    samples: int = 0
    with_masks: int = 0
    with_maps: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    pixels: Counter[int] = field(default_factory=Counter)
    suffixes: Counter[str] = field(default_factory=Counter)

    def add(self, packed: Packed) -> None:
        """One more sample."""
        self.samples += 1
        self.with_masks += packed.masks
        self.with_maps += "seg.png" in packed.members
        self.labels.update(packed.labels)
        self.pixels.update(dict(packed.pixels))
        self.suffixes[next(iter(packed.members))] += 1


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `out` at the end of the block if nothing was raised.

    SinkError where `out` holds something, or where another import is writing it.
    """
    check_free(out)
    building = out.with_name(f"{out.name}.importing")
    try:
        building.mkdir(parents=True, exist_ok=True)
        handle = os.open(building, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise SinkError(f"{building}: cannot be written: {error.strerror}") from None
    try:
        _lock(handle, building)
        _empty(building)
        yield building
        os.fsync(handle)
        check_free(out)
        building.rename(out)
        _sync(out.parent)
    except OSError as error:
        raise SinkError(f"{error.filename or out}: cannot be written: {error.strerror}") from error
    finally:
        os.close(handle)


def check_free(out: Path) -> None:
    """SinkError where there is something under this name already."""
    if out.is_dir():
        if any(out.iterdir()):
            raise SinkError(
                f"{out}: is not empty; it holds: {listing(out)}. Name another folder, or delete it"
            )
    elif out.exists() or out.is_symlink():
        raise SinkError(f"{out}: is a file; name a folder that is not there yet")


def write_shards(samples: Iterable[Packed], folder: Path, shard_size: int) -> dict[str, SplitTally]:
    """Writes the samples that have members, in their order, each split into its own shards."""
    tallies: dict[str, SplitTally] = {}
    open_shards: dict[str, list[Packed]] = {}
    sizes: Counter[str] = Counter()
    for packed in samples:
        split, size = packed.split, sum(map(len, packed.members.values()))
        waiting = open_shards.setdefault(split, [])
        if waiting and (len(waiting) == shard_size or sizes[split] + size > MAX_BYTES):
            _write(folder, split, waiting, tallies.setdefault(split, SplitTally()))
            waiting.clear()
            sizes[split] = 0
        waiting.append(packed)
        sizes[split] += size
    for split, waiting in open_shards.items():
        _write(folder, split, waiting, tallies.setdefault(split, SplitTally()))
    known = [name for name in ORDER if name in tallies]
    return {name: tallies[name] for name in (*known, *sorted(tallies.keys() - {*known}))}


def write_file(path: Path, data: bytes) -> None:
    """A file that is on the disk when this returns."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, record: object) -> None:
    """Plain data, readable."""
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    write_file(path, (text + "\n").encode())


def _write(folder: Path, split: str, waiting: list[Packed], tally: SplitTally) -> None:
    for packed in waiting:
        tally.add(packed)
    files = [(f"{p.key}.{suffix}", data) for p in waiting for suffix, data in p.members.items()]
    data, _ = write_tar(files)
    name = f"{split}-{len(tally.shards):06d}.tar"
    write_file(folder / name, data)
    tally.shards.append(
        {
            "file": name,
            "samples": len(waiting),
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    )


def _lock(handle: int, building: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SinkError(f"{building}: another import is writing here; wait for it") from None


def _empty(building: Path) -> None:
    """What an import that was killed has left; SinkError where there is anything else."""
    found = sorted(building.iterdir())
    strange = [path for path in found if path.suffix not in _OURS or path.is_dir()]
    if strange:
        raise SinkError(
            f"{building}: is needed to write into, but holds {strange[0].name}, which no import "
            "has left there; move it away"
        )
    for path in found:
        path.unlink()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
