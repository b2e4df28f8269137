"""The catalog of plain WebDataset shards, as a recipe's `source` names them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.catalog.catalog import NONE, ROLES, Catalog, Tar
from pipeline.source.pick import Pick, pick_members
from pipeline.source.plan import expand_shards
from pipeline.source.shards import Scan, scan_shard
from pipeline.storage.store import Store, split_url
from schemas.errors import SourceError
from schemas.index import Member
from schemas.recipe import Source

SCANNERS: Final = 8


def real(source: Source) -> Catalog:
    """All samples of these shards, found by their headers alone, in the order of the patterns.

    SourceError where a shard is missing or damaged, or packed: in gzip and zstd nothing can be read
    from the middle. In an object store a shard that changes later is an error when it is read; on a
    disk nothing tells.
    """
    with ThreadPoolExecutor(SCANNERS) as pool:
        scans = list(pool.map(lambda url: scan_shard(url, source), expand_shards(source.shards)))
    for scan in scans:
        _check(scan)
    picks = [(n, pick_members(ref, source)) for n, s in enumerate(scans) for ref in s.samples]
    for n, pick in picks:
        if pick.problem is not None:
            slug, detail = pick.problem
            where = f"{scans[n].shard.url}: sample {pick.key!r}"
            raise SourceError(f"{where}: {slug}: {detail}; leave it out, or mend it")
    places = [[_place(pick, role, source) for role in ROLES] for _, pick in picks]
    table_n32 = np.array(places, np.int64).reshape(-1, 3, 2)
    return Catalog(
        source,
        tuple(_tar(scan) for scan in scans),
        np.array([n for n, _ in picks], np.int32),
        np.ascontiguousarray(table_n32[:, :, 0]),
        np.ascontiguousarray(table_n32[:, :, 1]),
        pa.array([pick.key for _, pick in picks], pa.large_string()),
    )


def _check(scan: Scan) -> None:
    shard = scan.shard
    if shard.packing:
        says = f"is {shard.packing}: nothing can be read from its middle; unpack it"
        raise SourceError(f"{shard.url}: {says}")
    for finding in scan.findings:
        if not finding.harmless:
            raise SourceError(f"{finding}; leave the shard out, or mend it")


def _tar(scan: Scan) -> Tar:
    folder, name = split_url(scan.shard.url)
    store = Store(folder)
    version = None if store.local is not None else scan.shard.version
    return Tar(store, name, version, woven=False)


def _place(pick: Pick, role: str, source: Source) -> tuple[int, int]:
    """Offset and size of the member in this role."""
    suffix = pick.image if role == "image" else getattr(source, role)
    member: Member | None = pick.members.get(suffix or "")
    return (NONE, 0) if member is None else (member.offset, member.size)
