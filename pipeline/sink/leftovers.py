"""What a sink holds that nobody needs: what `noiseloom gc` removes, and what it must not.

A tar may go if no row names it, published or pending, and no run under way may come to name it: if
every unpublished run that plans its chunk has that chunk decided, committed by itself or published
by another. That asks no clock and no process whether a run is alive: whoever may be resumed keeps
what it may need. Also removed: pending files and journals of runs that are published (a writer that
was stopped past the end of its run leaves them), journals of runs that nobody knows, and on a disk
the temporary files of processes that are gone; and beats of starts that are gone for good
(`pipeline.sink.old_beats`), the only ones that a clock is asked about.

The order of reading makes it safe beside live runs: first the tars, then the plans, then what is
pending, then what is published. A run writes its plan before its first tar, and publishes what was
pending before. A run whose plan was not there to be read finds gc's claim (`pipeline.sink.claim`)
when it starts, and waits.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError

from pipeline.index.files import (
    PENDING,
    READERS,
    TAR_COLUMNS,
    published_path,
    published_runs,
    read_table,
    sink_errors,
    tars_of,
)
from pipeline.sink.claim import alive
from pipeline.sink.commit import TARS
from pipeline.sink.old_beats import old_beats
from pipeline.sink.publication import ATTEMPTS, drop
from pipeline.sink.run_files import PLAN_END, RUNS, plan_path, record_path
from pipeline.sink.slots import Slot, add_slot, given_up, owners, read_slots, slot_of
from pipeline.storage.store import Store
from schemas.errors import SinkError

_TEMPORARY: Final = re.compile(r"#(\d+)\d{6}$")
"""How `pipeline.storage.local_files` names what is not yet whole: the process, and a serial number.
"""


@dataclass(frozen=True)
class Leftover:
    """A file that nobody needs, and of what kind it is."""

    path: str
    kind: str
    size: int


@dataclass(frozen=True)
class OpenRun:
    """A run that may go on. `planned` is None where its plan is not there or cannot be read."""

    name: str
    planned: frozenset[str] | None
    pending: frozenset[str]
    published: frozenset[str]  # by any run

    def may_need(self, chunk: str) -> bool:
        """Whether it may yet commit this chunk, or replace what it has."""
        decided = chunk in self.pending or chunk in self.published
        return not decided and (self.planned is None or chunk in self.planned)

    @property
    def over(self) -> bool:
        """Other runs have published all that it would."""
        return not self.pending and self.planned is not None and self.planned <= self.published


@dataclass(frozen=True)
class Survey:
    """What may go; the runs that may go on, and the unnamed tars that stay for their sake."""

    leftovers: tuple[Leftover, ...]
    open_runs: tuple[OpenRun, ...]
    held: tuple[str, ...]


class _PlannedChunk(BaseModel):
    id: str
    copies: tuple[int, ...] | None = None


class _Plan(BaseModel):
    chunks: tuple[_PlannedChunk, ...]


def survey(store: Store, now: datetime, without: str | None = None) -> Survey:
    """Looks, and changes nothing. `now`: by the clock of the store. `without` is a run to look at
    as if it were given up.
    """
    with sink_errors(store):
        leaving = {without, *given_up(read_slots(store))}
        # From here on the order is what makes it safe, see above.
        tars = [path for folder in TARS for path in store.list(folder)]
        journals = _by_run(store, ATTEMPTS)
        plans = _plans(store)
        pending = _by_run(store, PENDING)
        named = _named(store, [p for run in pending.keys() - leaving for p in pending[run]])
        taken, published = frozenset(owners(read_slots(store))), set(published_runs(store))
        named |= _named(store, [published_path(run) for run in published])

        open_runs = [
            OpenRun(run, plans.get(run), frozenset(map(_chunk_of, pending.get(run, ()))), taken)
            for run in sorted((plans.keys() | pending.keys()) - published - leaving)
        ]
        unnamed = [path for path in tars if path not in named]
        held = [p for p in unnamed if any(run.may_need(_chunk_of(p)) for run in open_runs)]
        known = {run.name for run in open_runs}
        kinds = {
            **{path: "tars that no row names" for path in unnamed if path not in held},
            **_of_others(pending, known, "pending files of ended runs"),
            **_of_others(journals, known, "journals of ended runs"),
            **dict.fromkeys(_temporary(store), "temporary files of dead processes"),
            **dict.fromkeys(_old_beats(store, open_runs, published, now), "beats of dead starts"),
        }
        for run in plans.keys() & leaving:
            kinds[plan_path(run)] = "plans of runs given up"
        with ThreadPoolExecutor(READERS) as pool:
            sizes = pool.map(lambda path: _size(store, path), kinds)
            leftovers = [
                Leftover(path, kind, size)
                for (path, kind), size in zip(kinds.items(), sizes, strict=True)
            ]
        still = tuple(run for run in open_runs if not run.over)
        return Survey(tuple(leftovers), still, tuple(held))


def remove(store: Store, leftovers: Iterable[Leftover]) -> None:
    """Deletes what a survey found. The caller holds the claim."""
    with sink_errors(store):
        store.delete_many([leftover.path for leftover in leftovers])


def check_may_give_up(store: Store, run: str) -> list[Slot]:
    """SinkError where there is no such run, or it is published; else the slots."""
    with sink_errors(store):
        slots = read_slots(store)
        if run not in given_up(slots):
            if slot_of(slots, run) is not None or run in published_runs(store):
                says = "it is published; only what is not can be given up"
                raise SinkError(f"{store.url}: {run}: {says}")
            if run not in _plans(store) and run not in _by_run(store, PENDING):
                found = survey(store, datetime.now(UTC)).open_runs
                names = ", ".join(one.name for one in found) or "none"
                raise SinkError(f"{store.url}: no run {run} is under way; there are: {names}")
        return slots


def give_up(store: Store, run: str) -> None:
    """A run that is not published never will be: that is decided here. The caller holds the claim,
    and calls `finish_giving_up`.
    """
    with sink_errors(store):
        while run not in given_up(slots := check_may_give_up(store, run)):
            add_slot(store, slots, Slot(run=run, event="given_up"))


def finish_giving_up(store: Store) -> None:
    """Deletes plan, pending files and journal of runs that are given up. The caller holds the
    claim: no run starts meanwhile.
    """
    with sink_errors(store):
        while leaving := sorted(given_up(slots := read_slots(store))):
            store.delete(plan_path(leaving[0]))
            drop(store, leaving[0])
            add_slot(store, slots, Slot(run=leaving[0], event="cleared"))


def _by_run(store: Store, folder: str) -> dict[str, list[str]]:
    """The files below `folder/<run>/`."""
    found: dict[str, list[str]] = {}
    for path in store.list(folder):
        found.setdefault(path.removeprefix(f"{folder}/").partition("/")[0], []).append(path)
    return found


def _of_others(by_run: Mapping[str, list[str]], known: set[str], kind: str) -> dict[str, str]:
    return {path: kind for run, paths in by_run.items() if run not in known for path in paths}


def _chunk_of(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]


def _plans(store: Store) -> dict[str, frozenset[str] | None]:
    """The chunks of every planned run of which it makes any copy; None where the plan cannot be
    read.
    """
    names = [name for name in store.entries(RUNS) if name.endswith(PLAN_END)]

    def chunks(name: str) -> frozenset[str] | None:
        try:
            plan = _Plan.model_validate_json(store.read(f"{RUNS}/{name}"))
        except (FileNotFoundError, ValidationError):
            return None
        due = (one for one in plan.chunks if one.copies is None or any(one.copies))
        return frozenset(chunk.id for chunk in due)

    with ThreadPoolExecutor(READERS) as pool:
        runs = [name.removesuffix(PLAN_END) for name in names]
        return dict(zip(runs, pool.map(chunks, names), strict=True))


def _named(store: Store, paths: Iterable[str]) -> set[str]:
    """The tars that the rows of these index files name."""

    def tars(path: str) -> set[str]:
        try:
            return tars_of(read_table(store, path, TAR_COLUMNS))
        except FileNotFoundError:
            return set()  # published meanwhile: its rows are read with those

    with ThreadPoolExecutor(READERS) as pool:
        return set().union(*pool.map(tars, paths))


def _temporary(store: Store) -> Iterator[str]:
    """Files that a process of this machine was writing when it died."""
    folder = store.local
    for parent, _, names in os.walk(folder) if folder is not None else ():
        for name in names:
            found = _TEMPORARY.search(name)
            if found is not None and not alive(int(found[1])):
                yield (Path(parent) / name).relative_to(folder or "").as_posix()


def _old_beats(
    store: Store, open_runs: Iterable[OpenRun], published: Collection[str], now: datetime
) -> Iterator[str]:
    going = {run.name for run in open_runs if not run.over}

    def needed(run: str) -> bool:
        unrecorded = run in published and not store.exists(record_path(run))
        return run in going or unrecorded

    return old_beats(store, needed, now)


def _size(store: Store, path: str) -> int:
    folder = store.local
    try:
        return store.size(path) if folder is None else (folder / path).stat().st_size
    except FileNotFoundError:
        return 0
