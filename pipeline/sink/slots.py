"""The order of a sink: which run a chunk belongs to is decided once, by one create-only file.

    index/_order/000001.json    slot 1, 2, 3, ...: {"run": R, "chunks": [ids in the plan's order]}

A run publishes by creating the next slot, with all its chunks that no earlier slot holds. Whoever
loses the race for a number reads the slots again and starts over: so whatever runs do at the same
second, each chunk is in exactly one slot.

A run that holds the rows of another one, judged by other gates (`noiseloom regate`), has a slot
without chunks: `{"run": R, "event": "regated", "origin": O}`. Of an origin and what was made of it,
the one whose slot is the last is current, from the moment that its index file is there; the others
are superseded, and who reads all runs passes them over.

So has a run without the rows of samples that are gone (`pipeline.sink.deletions`), with the event
`followed`; one of that event without an origin says which night's source all others follow.

Slots are never deleted. `noiseloom gc --abandon RUN` adds two that have an `event` and no chunks:
`given_up` before it deletes the run's files, from which on the run cannot publish, and `cleared`
after it, from which on a run of this name may begin anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.index.files import READERS, TRIES, sink_errors
from pipeline.storage.store import Store
from schemas.errors import RunError, SinkError

ORDER: Final = "index/_order"


class Slot(BaseModel):
    """One step in the order of the sink: a run published, judged again, without what is gone, or
    given up. `origin` is the run whose rows one holds that made none itself.
    """

    model_config = ConfigDict(frozen=True)

    run: str
    chunks: tuple[str, ...] = ()
    event: Literal["published", "regated", "followed", "given_up", "cleared"] = "published"
    origin: str | None = None


def read_slots(store: Store) -> list[Slot]:
    """All slots, from the first on; SinkError where one is missing or is something else."""
    with sink_errors(store):
        for _ in range(TRIES):
            names = [name for name in store.entries(ORDER) if name.endswith(".json")]
            paths = [slot_path(number) for number in range(1, len(names) + 1)]
            gaps = [path for path in paths if path.rpartition("/")[2] not in names]
            if not gaps:  # else: one was created behind the listing's back, and then the next
                break
        else:
            raise SinkError(f"{store.at(gaps[0])}: is missing; slots are never deleted")
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(lambda path: _read_slot(store, path), paths))


def slots_taken(store: Store) -> int:
    """How many slots there are: as long as that is the same, nobody has published anything."""
    with sink_errors(store):
        return sum(name.endswith(".json") for name in store.entries(ORDER))


def slot_path(number: int) -> str:
    """The file of a slot; they count from 1."""
    return f"{ORDER}/{number:06d}.json"


def add_slot(store: Store, after: Sequence[Slot], slot: Slot) -> bool:
    """Creates the slot that follows these; False where somebody else has created that number."""
    text = slot.model_dump_json(exclude_defaults=True) + "\n"
    return store.create(slot_path(len(after) + 1), text.encode())


def owners(slots: Iterable[Slot]) -> dict[str, str]:
    """The chunks in these slots, and the run of each."""
    return {chunk: slot.run for slot in slots for chunk in slot.chunks}


def superseded(slots: Iterable[Slot], published: Collection[str]) -> set[str]:
    """Of these published runs those whose rows another one holds, judged later. The slots are read
    after the listing of the runs: a run's slot is there before its index file.
    """
    current: dict[str, str] = {}
    family: dict[str, set[str]] = {}
    for slot in slots:
        if slot.origin is not None and slot.run in published:
            current[slot.origin] = slot.run
            family.setdefault(slot.origin, {slot.origin}).add(slot.run)
    return {run for origin, runs in family.items() for run in runs - {current[origin]}}


def given_up(slots: Iterable[Slot]) -> set[str]:
    """The runs that are being given up."""
    last = {slot.run: slot.event for slot in slots}
    return {run for run, event in last.items() if event == "given_up"}


def slot_of(slots: Sequence[Slot], run: str) -> Slot | None:
    """Where the run published; RunError where it is being given up."""
    if run in given_up(slots):
        raise RunError(
            f"{run}: `noiseloom gc --abandon` is giving it up; let that end (or start `noiseloom "
            "gc` if it was killed), then start the run again to begin anew"
        )
    events = ("published", "regated")
    return next((slot for slot in slots if slot.run == run and slot.event in events), None)


def _read_slot(store: Store, path: str) -> Slot:
    try:
        return Slot.model_validate_json(store.read(path))
    except ValidationError as error:
        raise SinkError(f"{store.at(path)}: not a slot of noiseloom: {error}") from error
