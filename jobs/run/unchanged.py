"""A night with nothing new: told by the sizes and versions of the source shards alone.

    states/<digest>.json    {"run": R}: for a source in this state, nothing is left to do after R

The digest is over the recipe's, its name, and URL, size and version (etag; on a disk inode, time
and size) of every shard, in order: one request for each shard, and no header is read. The file is
written when a run is done with, and counts as long as that run is published. Where it is missing,
the source is planned as ever, and what has changed is told by content.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from jobs.run.plan import Checked, RunPlan
from jobs.run.record import record_exists
from pipeline.index.files import published_runs, sink_errors
from pipeline.sink.deletions import is_followed
from pipeline.sink.slots import read_slots
from pipeline.source.plan import expand_shards
from pipeline.storage.store import Store, split_url
from schemas.errors import SourceError
from schemas.recipe import digest_of

FOLDER: Final = "states"

ASKING: Final = 32
"""Shards asked about at once."""


def state_of(checked: Checked) -> str | None:
    """The digest of the state that the source is in; None where a shard is not there, or cannot be
    asked about: whoever plans it says why.
    """
    recipe = checked.recipe
    try:
        urls = expand_shards(recipe.source.shards)
        with ThreadPoolExecutor(ASKING) as pool:
            stats = list(pool.map(_stat, urls))
    except (OSError, SourceError, ValueError):
        return None
    budget = [recipe.budget.rare, recipe.budget.most] if recipe.budget.rare else []
    return digest_of([checked.digest, checked.file.stem, budget, stats])


def unchanged(checked: Checked) -> str | None:
    """The run after which there is nothing left to do; None where there may be."""
    state, store = state_of(checked), Store(checked.recipe.sink)
    if state is None:
        return None
    with sink_errors(store):
        try:
            said = json.loads(store.read(_path(state)))
            run, published = str(said["run"]), bool(said["published"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
    if published and not (run in published_runs(store) and record_exists(store, run)):
        return None
    if checked.recipe.follow_deletions and not _followed(store, checked, run):
        return None
    return run


def remember(planned: RunPlan, checked: Checked, state: str | None) -> None:
    """The source was in this state when the run was planned, and the run is done with; nothing is
    written where the source has changed since.
    """
    if state is None or state != state_of(checked):
        return
    published = planned.run in published_runs(planned.store)
    text = json.dumps({"run": planned.run, "published": published}) + "\n"
    with sink_errors(planned.store):
        planned.store.create(_path(state), text.encode())


def _stat(url: str) -> list[object]:
    folder, name = split_url(url)
    stat = Store(folder).stat(name)
    return [url, stat.size, stat.version]


def _path(state: str) -> str:
    return f"{FOLDER}/{state}.json"


def _followed(store: Store, checked: Checked, run: str) -> bool:
    return is_followed(read_slots(store), checked.file.stem, run)
