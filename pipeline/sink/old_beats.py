"""Beats in `sessions/` that nobody will ever ask for again: `noiseloom gc` takes them out.

A start that ends its run forgets the beats of all that have worked on it and are known to be gone
(`pipeline.sink.turns`). What stays is of starts that died on machines that never came back, of runs
that were given up or taken over, and of recipes that nobody starts any more. A beat goes if

- no start of its recipe may be at work: each has said that it has ended, or its process is gone
  from this machine, or it was silent for a week by the store's clock, where a start at work beats
  three times a minute. While one may be, all beats of the recipe stay: it counts what others spent;
- and its run will never count what it has spent: it has its record, or is no run any more, or it
  never came to a run.

A start that was frozen for longer than a week and wakes up says so with its next beat; until then
another one does not wait for it, and they lose nothing but time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from pipeline.sink.turns import FOLDER, Beat, beats, said
from pipeline.storage.store import Store

SILENT: Final = timedelta(days=7)


def old_beats(store: Store, needed: Callable[[str], bool], now: datetime) -> Iterator[str]:
    """Their paths. `needed`: whether a run may yet count what its starts have spent; `now`: by the
    clock of the store.
    """
    times = store.times(FOLDER)
    for folder, files in groupby(sorted(times), lambda path: path.rpartition("/")[0]):
        paths, last = list(files), beats(store, folder)
        if all(one.gone or now - times.get(one.path, now) > SILENT for one in last):
            gone = [one for one in last if not needed(said(store, one)[0])]
            yield from (path for one in gone for path in paths if _of(one, path, folder))


def _of(beat: Beat, path: str, folder: str) -> bool:
    """A start that was killed while it beat leaves the beat before, too."""
    return path.startswith(f"{folder}/{beat.session}.")
