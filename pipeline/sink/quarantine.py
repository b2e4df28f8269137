"""Quarantine: the source samples of which a copy failed, as they were read, with the reason.

    quarantine/<chunk>.<8 hex of its content>.tar
        <key>.<suffix>      the members that were read of the source sample, byte for byte
        <key>.error.json    {"slug", "detail", "source": {"shard", "key", "content"},
                             "copies": [{"copy", "slug", "detail"}, ...]}

To look at them, unpack the tar (`tar -xf`): `cat *.error.json` says what is wrong with each, the
image opens in any viewer unless its bytes are what is wrong. It is plain WebDataset, and so can be
repaired and named as the source of another recipe; `noiseloom retry SINK` takes it as it is, after
an op, a model or this program was repaired. The column `quarantine` of every failed row names its
tar. Where no byte could be read (a member above the limit), the error file stands alone.

Reproducible as shards are: sorted by key, no times, and nothing of the run, so that two runs that
fail on the same chunk write the same tar. URLs are without their secrets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Final

from pipeline.storage.secrets import without_secrets
from pipeline.tars.tar import write_tar
from schemas.index import IndexRow

QUARANTINE: Final = "quarantine"
ERROR: Final = "error.json"

Woven = Sequence[tuple[IndexRow, dict[str, bytes]]]
"""The rows of a chunk with their members: of a kept or a rejected copy what is written, of the
first failed copy of a key what was read of its source.
"""


def quarantine_path(chunk_id: str, data: bytes) -> str:
    """Where a chunk's quarantine tar is: its name holds 8 hex digits of its content."""
    return f"{QUARANTINE}/{chunk_id}.{hashlib.blake2b(data, digest_size=4).hexdigest()}.tar"


def path_in_sink(url: str) -> str:
    """Where the quarantine tar of this URL is below its sink, which may have been moved since."""
    return "/".join(url.split("/")[-2:])


def quarantine_tar(woven: Woven) -> bytes | None:
    """The tar of a chunk's failed source samples; None where none failed."""
    failed: dict[str, list[IndexRow]] = {}
    read: dict[str, dict[str, bytes]] = {}
    for row, members in woven:
        if row.status == "failed":
            failed.setdefault(row.source_key, []).append(row)
            read.setdefault(row.source_key, {}).update(members)
    if not failed:
        return None
    files = [
        (f"{key}.{suffix}", data)
        for key in sorted(failed)
        for suffix, data in sorted(({ERROR: _error(failed[key])} | read[key]).items())
    ]
    data, _ = write_tar(files)
    return data


def _error(rows: Sequence[IndexRow]) -> bytes:
    first = rows[0]
    copies = [
        {"copy": row.copy, "slug": row.reason, "detail": _plain(row.detail)}
        for row in sorted(rows, key=lambda row: row.copy)
    ]
    record = {
        "slug": first.reason,
        "detail": _plain(first.detail),
        "source": {
            "shard": without_secrets(first.source_shard),
            "key": first.source_key,
            "content": first.source_hash,
        },
        "copies": copies,
    }
    return (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()


def _plain(detail: str | None) -> str | None:
    return None if detail is None else without_secrets(detail)
