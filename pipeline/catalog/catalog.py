"""A catalog: which samples training reads, and where their bytes lie; one sample at a time.

    woven("s3://lab/cells-woven", runs=["nightly-3f2a91c0"], where="ssim > 0.4 and op = 'inpaint'")
    real(Source(shards="data/nuclei/train-*.tar", segmentation="seg.png", classes=("nucleus",)))

Both are read in the same way, so that real and woven samples mix. A catalog holds numbers in arrays
and the keys as Arrow text, some 100 bytes for a sample and no Python object: a million rows of an
index open in seconds, column by column. It can be pickled, and sent to the workers of a loader.

Of a sink only published runs are read, which are named, and so pinned: `index/<run>.parquet` is
written once and names tars that are written once, so whatever runs, retries or gc do beside it, the
same catalog comes out. A chunk that two runs made is in the index of the one that published first;
who wants all names all runs. Rows come in the order of the runs, and of their index.

A sample costs one ranged read: its members lie side by side. (In shards of others they may lie
apart: then one for each of the at most three.) Errors are SinkError and SourceError for what cannot
be read, and SampleError, with shard and key, for a sample that is not what its labels say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.codec import decode
from pipeline.source.plan import EncodedSample
from pipeline.source.ranged import read_members
from pipeline.storage.store import Store
from pipeline.storage.trouble import storage_error
from schemas.errors import NoiseloomError, SampleError, SinkError, SourceError
from schemas.index import Member
from schemas.recipe import Source
from schemas.sample import Sample

ROLES: Final = ("image", "labels", "segmentation")
"""The members that are read, and the columns of the arrays."""

NONE: Final = -1
"""The offset of a member that is not there."""


@dataclass(frozen=True)
class Tar:
    """A shard: its store, its path there, and what shows that it has changed, if anything can."""

    store: Store
    path: str
    version: str | None = None
    woven: bool = True

    def __str__(self) -> str:
        return self.store.at(self.path)


@dataclass(frozen=True, eq=False)
class Catalog:
    """Samples by number. `layout` says what their members and classes are."""

    layout: Source
    tars: tuple[Tar, ...]
    tar_n: NDArray[np.int32]
    offsets_n3: NDArray[np.int64]
    sizes_n3: NDArray[np.int64]
    keys: pa.Array

    def __len__(self) -> int:
        return len(self.tar_n)

    @property
    def local(self) -> bool:
        """Whether all is on this machine's disk. A forked process can read nothing else."""
        return all(tar.store.local is not None for tar in self.tars)

    @property
    def digest(self) -> str:
        """16 hex digits over the places of all samples, in their order."""
        hashed = hashlib.blake2b(digest_size=8)
        for tar in self.tars:
            hashed.update(tar.path.encode() + b"\0")
        for array in (self.tar_n, self.offsets_n3, self.sizes_n3):
            hashed.update(np.ascontiguousarray(array).data)
        return hashed.hexdigest()

    def key(self, i: int) -> str:
        """The WebDataset key of a sample."""
        return str(self.keys[i].as_py())

    def tar(self, i: int) -> Tar:
        """The shard that a sample lies in."""
        return self.tars[int(self.tar_n[i])]

    def take(self, numbers: Sequence[int]) -> Catalog:
        """Some samples, in this order."""
        chosen = np.asarray(numbers, np.int64)
        arrays = self.tar_n[chosen], self.offsets_n3[chosen], self.sizes_n3[chosen]
        return Catalog(self.layout, self.tars, *arrays, self.keys.take(pa.array(chosen)))

    def sample(self, i: int) -> Sample:
        """Pixels and labels; SampleError with shard and key where something is wrong with them."""
        try:
            return decode(self.encoded(i), self.layout)
        except SampleError as error:
            where = f"{self.tar(i)}: sample {self.key(i)!r}"
            raise SampleError(error.slug, f"{error.detail} ({where})".strip()) from error

    def encoded(self, i: int) -> EncodedSample:
        """The bytes of one sample."""
        tar, key = self.tar(i), self.key(i)
        places = zip(ROLES, self.offsets_n3[i].tolist(), self.sizes_n3[i].tolist(), strict=True)
        members = {role: Member(role, at, size) for role, at, size in places if at != NONE}
        error = SinkError if tar.woven else SourceError
        try:
            data = read_members(tar.store, tar.path, list(members.values()), tar.version)
        except FileNotFoundError:
            raise error(f"{tar}: is gone since the catalog was made") from None
        except OSError as problem:
            raise _unreadable(problem, tar, error) from problem
        found = {role: data[member] for role, member in members.items()}
        return EncodedSample(
            key=key,
            image=found.get("image", b""),
            image_suffix="",
            labels=found.get("labels"),
            segmentation=found.get("segmentation"),
            content="",
            shard=str(tar),
            problem=None if "image" in found else ("missing_image", "no image among its members"),
        )


def _unreadable(problem: OSError, tar: Tar, error: type[NoiseloomError]) -> NoiseloomError:
    return storage_error(problem, f"{tar}: cannot be read", error)


def joined(parts: Sequence[Catalog]) -> Catalog:
    """One after the other. ValueError where there is none, or where layouts differ."""
    first = parts[0]
    if any(part.layout != first.layout for part in parts):
        raise ValueError("catalogs of different layouts")
    before = np.cumsum([0, *(len(part.tars) for part in parts[:-1])])
    return replace(
        first,
        tars=tuple(tar for part in parts for tar in part.tars),
        tar_n=np.concatenate([p.tar_n + n for p, n in zip(parts, before, strict=True)]).astype(
            np.int32
        ),
        offsets_n3=np.concatenate([part.offsets_n3 for part in parts]),
        sizes_n3=np.concatenate([part.sizes_n3 for part in parts]),
        keys=pa.concat_arrays([part.keys for part in parts]),
    )
