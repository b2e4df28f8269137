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

Each stage of a chunk has a journal of its own: the first `<chunk>`, one that begins with op n
`<chunk>.<n>`. So a killer is found in whatever stage it kills, after as many deaths as in a run of
one stage, and the later stages do not touch it either; with other pools in the next command it may
have to be found again. A stage that is done again because a node was lost with its block counts as
a death that no sample explains.

There are no clocks and no leases. A death cannot be told from a worker that still lives somewhere,
nor from the end of the machine: that costs time, and nothing else, unless it strikes `TRIES` times
with the same sample in hand. The journal goes when the run is published.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from pipeline.chain.under_way import State, UnderWay, parted
from pipeline.chain.weave import weave_part, weave_rest
from pipeline.chain.woven import RunContext, WovenCopy, once_each
from pipeline.codec import decode
from pipeline.index.files import sink_errors
from pipeline.model import Models
from pipeline.recipe import FullRecipe
from pipeline.sink.publication import ATTEMPTS
from pipeline.stages import Stage
from pipeline.storage.store import Store
from schemas.errors import RunError, SampleError

T = TypeVar("T")

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

    def touching(self, items: Sequence[UnderWay]) -> list[UnderWay]:
        """The samples as they may be touched: of one that kills, all copies fail."""
        return [_left_out(item) if item.encoded.key in self.killers else item for item in items]


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
    items: Sequence[UnderWay],
    stage: Stage,
    recipe: FullRecipe,
    models: Models,
    context: RunContext,
) -> list[WovenCopy]:
    """The last stage of a chunk; the same copies with the same bytes whether carefully or not."""
    weave = partial(weave_rest, ops=stage.ops, recipe=recipe, models=models, context=context)
    return once_each(_attempted(attempt, attempt.touching(items), stage, recipe, weave))


def part_attempt(
    attempt: Attempt, items: Sequence[UnderWay], stage: Stage, recipe: FullRecipe, models: Models
) -> list[UnderWay]:
    """Another stage of a chunk, in the same way."""
    touched = attempt.touching(items)
    weave = partial(weave_part, ops=stage.ops, recipe=recipe, models=models)
    return parted(touched, _attempted(attempt, touched, stage, recipe, weave))


def _attempted(
    attempt: Attempt,
    items: Sequence[UnderWay],
    stage: Stage,
    recipe: FullRecipe,
    weave: Callable[[Sequence[UnderWay]], list[T]],
) -> list[T]:
    if not attempt.careful:
        return weave(items)
    step, peers = 0, stage.needs_peers(recipe)
    if peers:  # each looks at all: whose decoding kills must be known before
        for step, item in enumerate(items, 1):
            attempt.in_hand(step, item.encoded.key)
            with suppress(SampleError):
                decode(item.encoded, recipe.source)
    made: list[T] = []
    for place, item in enumerate(items):
        step += 1
        attempt.in_hand(step, item.encoded.key)
        made += weave(_among_peers(items, place) if peers else [item])
    attempt.in_hand(step + 1, None)
    return made


def excuse(store: Store, run: str, chunks: Collection[str]) -> None:
    """Writes, once no worker is left, that what was under way on these chunks was stopped and did
    not die: the next command starts on them as if nothing had been.
    """
    with sink_errors(store):
        begun: dict[str, set[int]] = {}
        for path in store.list(f"{ATTEMPTS}/{run}"):
            chunk, name = path.split("/")[-2:]
            begun.setdefault(chunk, set()).update(_numbers([name]))
        stopped = {name for name in begun if name in chunks or name.partition(".")[0] in chunks}
        for name in stopped:
            folder = f"{ATTEMPTS}/{run}/{name}"
            _create(store, f"{folder}/{max(begun[name])}-{_STOPPED}.json", {})


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


def _left_out(item: UnderWay) -> UnderWay:
    """A sample that is not decoded any more, in this stage and those after it; one that never was
    keeps its own reason. What earlier ops made of its copies is given up.
    """
    encoded = replace(item.encoded, problem=item.encoded.problem or KILLED)
    return UnderWay(encoded, tuple(State(state.copy) for state in item.copies))


def _among_peers(items: Sequence[UnderWay], place: int) -> list[UnderWay]:
    """All of them, to be looked at; copies are made of one."""
    return [item if i == place else replace(item, copies=()) for i, item in enumerate(items)]


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
