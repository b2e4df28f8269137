"""Pools on a cluster: what fits where, how wide each pool is, and what can never be met.

Pure functions over plain nodes. Ray places an actor on one node, a fraction of a GPU on one device;
so do these. All stages of a run live at the same time, and share what there is:

    width.least     held as long as the run lasts: the recipe's, or fewer where fewer fit
    width.start     as many as there is room for now, beside other jobs, from the first moment
    width.most      as many as fit where the other stages have their least; where the cluster grows,
                    the recipe's

A pool grows and shrinks between least and most with its queue, which is Ray's doing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from pipeline.problems import nearest
from pipeline.stages import Stage
from schemas.pools import PoolSpec

_TINY: Final = 1e-6
"""Three times a third is one."""


@dataclass(frozen=True)
class Node:
    """One machine, or a kind of machine: what of it may be asked for. `memory` is in bytes."""

    cpus: float
    gpus: float = 0
    memory: float = 0
    accelerators: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cluster:
    """The machines that are there, what of them is free now, and whether more may come. `groups`:
    the kinds of machines that may come, where anybody knows them.
    """

    nodes: tuple[Node, ...]
    free: tuple[Node, ...]
    grows: bool = False
    groups: tuple[Node, ...] | None = None


@dataclass(frozen=True)
class Width:
    """How many actors a pool has: at least, at most, and at first."""

    least: int
    most: int
    start: int


def holds(node: Node, pool: PoolSpec) -> bool:
    """Whether one actor of the pool fits on the node, if it had all of it."""
    return _Room([node]).place(pool)


def widths(stages: Sequence[Stage], cluster: Cluster, chunks: int) -> list[Width]:
    """The width of every pool; more actors than chunks are of no use. Every stage fits somewhere:
    `missing` has been asked before.
    """
    pools = [stage.pool for stage in stages]
    least = _filled(_Room(cluster.nodes), pools, [1] * len(pools), [p.pool[0] for p in pools])
    start = _filled(_Room(cluster.free), pools, [0] * len(pools), [p.pool[1] for p in pools])
    out = []
    for i, pool in enumerate(pools):
        low, high = pool.pool
        if not cluster.grows:
            room = _Room(cluster.nodes)
            for j in sorted(range(len(pools)), key=lambda j: j == i):
                fits = room.fill(pools[j], pool.pool[1] if j == i else least[j])
            low, high = least[i], max(fits, least[i])
        low = min(low, chunks)
        out.append(Width(low, high, min(max(start[i], low), high, chunks)))
    return out


def missing(stages: Sequence[Stage], cluster: Cluster, names: Sequence[str]) -> str | None:
    """What of the recipe's pools no machine that is there, or may come, can hold; None where all of
    it can be met. `names`: of the stages.
    """
    if cluster.grows and cluster.groups is None:
        return None  # nobody knows what may come: `absent` waits for it
    kinds = (*cluster.nodes, *(cluster.groups or ()))
    found = [
        _lacking(stage, name, kinds)
        for stage, name in zip(stages, names, strict=True)
        if not any(holds(node, stage.pool) for node in kinds)
    ]
    if not found and not cluster.grows and not _together(stages, cluster):
        asked = "; ".join(
            f"{name}: {asks(stage.pool)}" for stage, name in zip(stages, names, strict=True)
        )
        found = [
            "resources: one actor of every stage at once does not fit, and all stages run at once\n"
            f"  they ask for {asked}\n  there are {offers(cluster.nodes)}"
        ]
    return "\n".join(found) or None


def absent(stages: Sequence[Stage], cluster: Cluster) -> list[Stage]:
    """The stages for which no machine is there yet."""
    return [s for s in stages if not any(holds(node, s.pool) for node in cluster.nodes)]


def asks(pool: PoolSpec) -> str:
    """What one actor asks for, in words."""
    parts = [f"{pool.gpus:g} GPU" + ("s" if pool.gpus > 1 else "")] if pool.gpus else []
    if pool.accelerator is not None:
        parts[0] += f" ({pool.accelerator})"
    parts.append(f"{pool.cpus:g} CPU" + ("s" if pool.cpus != 1 else ""))
    parts += [pool.memory] if pool.memory is not None else []
    parts += [f"{name}={value}" for name, value in sorted(pool.labels.items())]
    return ", ".join(parts)


def offers(nodes: Iterable[Node]) -> str:
    """What the machines have, the same ones once."""
    counted: dict[str, int] = {}
    for node in nodes:
        text = _has(node)
        counted[text] = counted.get(text, 0) + 1
    return "; ".join(f"{n} x ({text})" for text, n in counted.items()) or "no machines"


def _has(node: Node) -> str:
    words = f" {' '.join(sorted(node.accelerators))}" if node.accelerators else ""
    parts = [f"{node.cpus:g} CPUs", f"{node.gpus:g} GPUs{words}", f"{node.memory / 2**30:.1f} GiB"]
    own = {name: value for name, value in node.labels.items() if not name.startswith("ray.io/node")}
    return ", ".join([*parts, *(f"{name}={value}" for name, value in sorted(own.items()))])


def _lacking(stage: Stage, name: str, kinds: Sequence[Node]) -> str:
    """Which of the things that one actor asks for is nowhere, or nowhere together."""
    parts = list(_nowhere(stage.pool, kinds)) or ["no one machine has all of it"]
    return (
        f"{stage.place}: no machine can hold one actor of {name}\n"
        f"  it asks for {asks(stage.pool)}: {'; '.join(parts)}\n  there are {offers(kinds)}"
    )


def _nowhere(pool: PoolSpec, kinds: Sequence[Node]) -> Iterator[str]:
    for word in ("cpus", "gpus", "memory"):
        most = max((getattr(node, word) for node in kinds), default=0)
        wanted = pool.memory_bytes if word == "memory" else getattr(pool, word)
        if wanted > most + _TINY:
            has = f"{most / 2**30:.1f}GiB of memory" if word == "memory" else f"{most:g} {word}"
            yield f"no machine has more than {has}"
    accelerators = set(chain.from_iterable(node.accelerators for node in kinds))
    if pool.accelerator is not None and pool.accelerator not in accelerators:
        hints = nearest(pool.accelerator, accelerators)
        there = ", ".join(sorted(accelerators)) or "none with a known type"
        yield " ".join([f"no accelerator is called {pool.accelerator}, there are {there}", *hints])
    for label, value in sorted(pool.labels.items()):
        values = {node.labels[label] for node in kinds if label in node.labels}
        if value not in values:
            there = f", which is {' or '.join(sorted(values))}" if values else ""
            yield f"no machine carries the label {label}={value}{there}"


def _together(stages: Sequence[Stage], cluster: Cluster) -> bool:
    room = _Room(cluster.nodes)
    return all(room.place(stage.pool) for stage in sorted(stages, key=_hard))


def _hard(stage: Stage) -> tuple[float, ...]:
    """What is hardest to place comes first."""
    pool = stage.pool
    special = bool(pool.labels) + bool(pool.accelerator)
    return -pool.gpus, -special, -pool.memory_bytes, -pool.cpus


def _filled(
    room: _Room, pools: Sequence[PoolSpec], base: Sequence[int], most: Sequence[int]
) -> list[int]:
    """Actors of each pool, placed in turns until nothing more fits or each has its most; `base` of
    them are there whether they are seen to fit or not.
    """
    order = sorted(range(len(pools)), key=lambda i: (-pools[i].gpus, -pools[i].cpus))
    placed = list(base)
    for i in order:
        room.fill(pools[i], base[i])
    growing = set(order)
    while growing:
        for i in order:
            if i in growing and (placed[i] >= most[i] or not room.place(pools[i])):
                growing.discard(i)
            elif i in growing:
                placed[i] += 1
    return placed


class _Room:
    """What is left of some nodes while actors are placed on them."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        # An actor without GPUs goes where there are none, as Ray sends it.
        self._left = [_Left(node) for node in sorted(nodes, key=lambda node: node.gpus)]

    def place(self, pool: PoolSpec) -> bool:
        """One actor, on the first node that it fits on; False where it fits on none."""
        return any(left.place(pool) for left in self._left)

    def fill(self, pool: PoolSpec, most: int) -> int:
        """Up to so many actors; how many fitted."""
        placed = 0
        while placed < most and self.place(pool):
            placed += 1
        return placed


class _Left:
    """One node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._cpus, self._memory = node.cpus, node.memory
        whole = int(node.gpus + _TINY)
        rest = node.gpus - whole
        self._devices = [1.0] * whole + ([rest] if rest > _TINY else [])

    def place(self, pool: PoolSpec) -> bool:
        node = self._node
        if pool.accelerator is not None and pool.accelerator not in node.accelerators:
            return False
        if any(node.labels.get(name) != value for name, value in pool.labels.items()):
            return False
        if pool.cpus > self._cpus + _TINY or pool.memory_bytes > self._memory + _TINY:
            return False
        if not self._devices_for(pool.gpus):
            return False
        self._cpus -= pool.cpus
        self._memory -= pool.memory_bytes
        return True

    def _devices_for(self, gpus: float) -> bool:
        if gpus < 1:
            fits = [i for i, left in enumerate(self._devices) if left + _TINY >= gpus]
            if gpus and fits:  # the fullest first: whole devices stay whole
                self._devices[min(fits, key=lambda i: self._devices[i])] -= gpus
            return bool(fits) or not gpus
        free = [i for i, left in enumerate(self._devices) if left > 1 - _TINY]
        if len(free) < gpus - _TINY:
            return False
        for i in free[: int(gpus)]:
            self._devices[i] = 0.0
        return True
