"""Names of images -> keys of samples: unique, and such that a tar and WebDataset read them back.

A key is the path without its suffix. WebDataset ends a key at the first dot of the file's name, so
that further dots become `_`; so do blanks at the ends of a part, and what cannot be printed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pipeline.importing.files import stem_of
from pipeline.importing.findings import repaired
from pipeline.importing.records import Item

_BAD: Final = re.compile(r"[.\\]|^\s+|\s+$")


def with_keys(items: Sequence[Item]) -> list[tuple[str, Item]]:
    """Every item with its key, sorted by key; a key is unique over all splits."""
    taken: set[str] = set()
    keyed: list[tuple[str, Item]] = []
    for item in sorted(items, key=lambda item: (item.name, item.split)):
        stem = stem_of(item.name)
        plain = key = key_of(stem)
        found = item.findings
        if key != stem:
            found = (*found, repaired("key_renamed", item.name, f"key {key}"))
        number = 2
        while key in taken:
            key = f"{plain}-{number}"
            number += 1
        if key != plain:
            found = (*found, repaired("duplicate_key", item.name, f"key {key}"))
        taken.add(key)
        keyed.append((key, replace(item, findings=found)))
    return sorted(keyed, key=lambda pair: pair[0])


def key_of(stem: str) -> str:
    """A key for this path; the path itself where it can be one."""
    parts = [_BAD.sub("_", part) for part in stem.split("/") if part not in ("", ".", "..")]
    clean = ["".join(c if c.isprintable() else "_" for c in part) for part in parts]
    return "/".join(part or "_" for part in clean) or "_"
