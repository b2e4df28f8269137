"""Shard patterns: `{000..047}` counts, `*` matches within one part of a path.

Counting asks nobody, so a missing shard is reported by the one who opens it. Stars ask the store,
folder by folder; hidden names are matched only by patterns that begin with a dot.
"""

from __future__ import annotations

import re

from pipeline.storage.store import Store

MAX_URLS = 1_000_000

_COUNT = re.compile(r"\{(\d+)\.\.(\d+)\}")


def expand(pattern: str) -> list[str]:
    """The URLs of a pattern, sorted where stars matched them, counted where they were counted."""
    return [url for counted in _count(pattern) for url in _match(counted)]


def _count(pattern: str) -> list[str]:
    found = _COUNT.search(pattern)
    if found is None:
        return [pattern]
    first, last = found.groups()
    if int(last) < int(first) or int(last) - int(first) >= MAX_URLS:
        raise ValueError(f"{found.group()} counts nothing, or more than {MAX_URLS} shards")
    width = len(first) if first.startswith("0") or len(first) == len(last) else 0
    numbers = [str(number).zfill(width) for number in range(int(first), int(last) + 1)]
    head, rest = pattern[: found.start()], _count(pattern[found.end() :])
    if len(numbers) * len(rest) > MAX_URLS:
        raise ValueError(f"more than {MAX_URLS} shards")
    return [head + number + tail for number in numbers for tail in rest]


def _match(pattern: str) -> list[str]:
    if "*" not in pattern:
        return [pattern]
    fixed = pattern[: pattern.index("*")].rpartition("/")[0]
    rest = pattern[len(fixed) :].lstrip("/") if fixed else pattern
    if not fixed:
        fixed = "/" if pattern.startswith("/") else "."
        rest = pattern.lstrip("/")
    store = Store(fixed)
    return [store.at(path) for path in _below(store, "", rest.split("/"))]


def _below(store: Store, folder: str, parts: list[str]) -> list[str]:
    names = _names(store, folder, parts[0], wanted_folder=len(parts) > 1)
    paths = [f"{folder}/{name}" if folder else name for name in names]
    if len(parts) == 1:
        return paths
    return [found for path in paths for found in _below(store, path, parts[1:])]


def _names(store: Store, folder: str, part: str, *, wanted_folder: bool) -> list[str]:
    if "*" not in part and wanted_folder:
        return [part]
    fits = re.compile(".*".join(re.escape(piece) for piece in part.split("*")))
    names = [
        name.removesuffix("/")
        for name in store.entries(folder)
        if name.endswith("/") == wanted_folder and (part.startswith(".") or name[0] != ".")
    ]
    return [name for name in names if fits.fullmatch(name)]
