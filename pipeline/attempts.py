"""The journal of attempts: finds the one sample that kills whoever works on it.

    attempts/<run>/<chunk>/<n>.json          attempt n on this chunk has begun, in this session
    attempts/<run>/<chunk>/<n>-<i>.json      the i-th step of a careful attempt: this key is in hand
    attempts/<run>/<chunk>/<n>-stopped.json  attempt n did not die: the command was stopped

A process that dies cannot say why: what it wrote before can. An attempt on a chunk of which nobody
has died weaves all of it at once, at the price of one small file. After a death it is careful: one
sample after the other, each named before it is touched. A key that was in hand at the end of
`TRIES` careful attempts is not touched any more: its copies fail as `killed_worker`, and the rest
of the chunk comes through, with the same bytes as ever, since a copy does not depend on its
company. Where workers go on dying, with no sample in hand or with one that is not touched any more,
the run stops and says so.

There are no clocks and no leases. A death cannot be told from a worker that still lives somewhere,
nor from the end of the machine: that costs time, and nothing else, unless it strikes `TRIES` times
with the same sample in hand. The journal goes when the run is published.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from pipeline.codec import decode
from pipeline.index_files import sink_errors
from pipeline.model import Models
from pipeline.publication import ATTEMPTS
from pipeline.recipe import FullRecipe, needs_peers
from pipeline.source import EncodedSample
from pipeline.store import Store
from pipeline.weave import weave_chunk
from pipeline.woven import RunContext, WovenCopy, once_each
from schemas.errors import RunError, SampleError

TRIES: Final = 3
"""A sample in hand at so many deaths of careful attempts is what kills."""

DEATHS: Final = 5
"""So many in one session that no sample explains, and it is the model, the machine or the chunk."""

KILLED: Final = (
    "killed_worker",
    f"{TRIES} workers died with this sample in hand: out of memory, or a crash in a decoder",
)

_STOPPED: Final = "stopped"


@dataclass(frozen=True)
class Attempt:
    """One attempt on one chunk, begun. `killers`: the keys that are not touched any more."""

    store: Store
    folder: str
    number: int
    careful: bool
    killers: frozenset[str] = frozenset()

    def in_hand(self, step: int, key: str | None) -> None:
        """Before a sample is touched; None: all are done with."""
        _create(self.store, f"{self.folder}/{self.number}-{step}.json", {"key": key})


def begin(store: Store, run: str, chunk: str, session: str) -> Attempt:
    """Writes that an attempt begins, and learns from those before it. `session` names the command
    that is running. RunError where workers only die.
    """
    folder = f"{ATTEMPTS}/{run}/{chunk}"
    entry = {"session": session}
    if _create(store, f"{folder}/0.json", entry):
        return Attempt(store, folder, 0, careful=False)
    with sink_errors(store):
        number = 1 + max(_numbers(store.entries(folder)), default=0)
    while not _create(store, f"{folder}/{number}.json", entry):
        number += 1
    with sink_errors(store):
        deaths = _deaths(store, folder, number)
    _check_hope(chunk, [death for death in deaths if death.session == session])
    times = Counter(death.key for death in deaths if death.key is not None)
    killers = frozenset(key for key, n in times.items() if n >= TRIES)
    return Attempt(store, folder, number, bool(deaths), killers)


def weave_attempt(
    attempt: Attempt,
    encoded: Sequence[EncodedSample],
    recipe: FullRecipe,
    models: Models,
    context: RunContext,
) -> list[WovenCopy]:
    """A chunk, woven; the same copies with the same bytes whether carefully or not."""
    if not attempt.careful:
        return weave_chunk(encoded, recipe, models, context)
    samples = [_left_out(item) if item.key in attempt.killers else item for item in encoded]
    step = 0
    if needs_peers(recipe):  # each looks at all: whose decoding kills must be known before
        for step, item in enumerate(samples, 1):
            attempt.in_hand(step, item.key)
            with suppress(SampleError):
                decode(item, recipe.source)
    woven: list[WovenCopy] = []
    for place, item in enumerate(samples):
        step += 1
        attempt.in_hand(step, item.key)
        given = _among_peers(samples, place) if needs_peers(recipe) else [item]
        woven += weave_chunk(given, recipe, models, context)
    attempt.in_hand(step + 1, None)
    return once_each(woven)


def excuse(store: Store, run: str, chunks: Collection[str]) -> None:
    """Writes, once no worker is left, that what was under way on these chunks was stopped and did
    not die: the next command starts on them as if nothing had been.
    """
    with sink_errors(store):
        begun: dict[str, set[int]] = {}
        for path in store.list(f"{ATTEMPTS}/{run}"):
            chunk, name = path.split("/")[-2:]
            begun.setdefault(chunk, set()).update(_numbers([name]))
        for chunk in begun.keys() & set(chunks):
            folder = f"{ATTEMPTS}/{run}/{chunk}"
            _create(store, f"{folder}/{max(begun[chunk])}-{_STOPPED}.json", {})


@dataclass(frozen=True)
class _Death:
    """An attempt that has not ended well, as far as one can know: the key that was in hand."""

    session: str
    key: str | None


def _deaths(store: Store, folder: str, before: int) -> list[_Death]:
    names = store.entries(folder)
    deaths = []
    for number in range(before):
        steps = [name.removesuffix(".json") for name in names if name.startswith(f"{number}-")]
        if f"{number}-{_STOPPED}" in steps or f"{number}.json" not in names:
            continue
        session = _entry(store, f"{folder}/{number}.json")["session"]
        last = max(steps, key=lambda step: int(step.partition("-")[2]), default=None)
        key = None if last is None else _entry(store, f"{folder}/{last}.json")["key"]
        deaths.append(_Death(session or "", key))
    return deaths


def _check_hope(chunk: str, deaths: Sequence[_Death]) -> None:
    times = Counter(death.key for death in deaths)
    if times.pop(None, 0) >= DEATHS or any(n >= TRIES + DEATHS for n in times.values()):
        raise RunError(
            f"chunk {chunk}: {len(deaths)} workers died on it, and no one sample is to blame: "
            "memory is too small for the models or the chunk, or a library crashes. Take a smaller "
            "chunk_size or resources.pool, or more memory, and start the run again"
        )


def _left_out(sample: EncodedSample) -> EncodedSample:
    """A sample that is not decoded any more; one that never was keeps its own reason."""
    return replace(sample, problem=sample.problem or KILLED)


def _among_peers(samples: Sequence[EncodedSample], place: int) -> list[EncodedSample]:
    """All of them, to be looked at; copies are made of one."""
    return [item if i == place else replace(item, copies=()) for i, item in enumerate(samples)]


def _numbers(names: Collection[str]) -> Iterator[int]:
    """The numbers of the attempts that these files of a journal tell of."""
    for name in names:
        stem = name.removesuffix(".json").partition("-")[0]
        if stem.isdigit():
            yield int(stem)


def _create(store: Store, path: str, entry: Mapping[str, str | None]) -> bool:
    with sink_errors(store):
        return store.create(path, json.dumps(dict(entry)).encode())


def _entry(store: Store, path: str) -> dict[str, str | None]:
    entry: dict[str, str | None] = json.loads(store.read(path))
    return entry
