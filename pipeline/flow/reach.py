"""Whether all machines of a cluster reach what a run reads and writes.

A folder is on one machine. On a cluster of several each would fill a folder of its own, and the
shards of one index would lie about: that is refused before anything starts. What lies below one of
the folders in NOISELOOM_SHARED, with colons between them, is on a disk that all machines have.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipeline.source.plan import Chunk
from pipeline.storage.store import Store, split_url
from schemas.errors import RunError

SHARED_FOLDERS: Final = "NOISELOOM_SHARED"


def local_places(chunks: Sequence[Chunk], sink: str) -> list[str]:
    """What a run reads or writes on this machine's own disk, by its name in the recipe."""
    folders = {split_url(url)[0] for url in {chunk.shard.url for chunk in chunks}}
    places = [("sink", sink), *(("source.shards", folder) for folder in sorted(folders))]
    named = [folder.rstrip("/") for folder in os.environ.get(SHARED_FOLDERS, "").split(":")]
    shared = tuple(f"{folder}/" for folder in named if folder)
    return [
        f"{name}: {url}"
        for name, url in places
        if Store(url).local is not None and not f"{url}/".startswith(shared)
    ]


def check_reach(local: Sequence[str], nodes: Sequence[Mapping[str, Any]]) -> None:
    """RunError where something is local, and the nodes, `ray.nodes()`, are several machines."""
    machines = _machines(nodes)
    if local and len(machines) > 1:
        raise RunError(
            f"{local[0]}: is a folder of one machine, and this cluster has {len(machines)}: "
            f"{', '.join(machines)}. Name an object store that all of them reach (s3://, gs://, "
            "az://), or run on one machine"
        )


def _machines(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those that are alive, told apart by name and address. The nodes of a test cluster are one."""
    found: dict[str, set[str]] = {}
    for node in nodes:
        if node["Alive"]:
            address = str(node["NodeManagerAddress"])
            own = found.setdefault(str(node["NodeManagerHostname"]), set())
            own.update(() if address.startswith("127.") else {address})
    return sorted(
        f"{name} {address}".strip() for name, own in found.items() for address in own or {""}
    )
