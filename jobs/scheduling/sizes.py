"""How large the workers of a cluster are, and how many: out of the recipe's pools.

A worker holds as many actors of one pool as share one GPU, or one actor without; it has their CPUs
and one more, for reading and writing (`pipeline.flow.graph`). Stages that ask for the same share a
group, which may get as many workers as all of them at their widest. `--nodes` names where workers
with GPUs run, or all workers where none has any. The type of an accelerator is what the autoscaler
has to be told before there is a node, and `--nodes` must make it true.
"""

from __future__ import annotations

import math
from typing import Final

from jobs.lift.files import lift_test_of
from jobs.scheduling.cloud import Cloud
from jobs.scheduling.night import Night
from pipeline.stages import stages_of
from schemas.errors import RecipeError
from schemas.pools import PoolSpec

_GIB_PER_CPU: Final = 4
_GIB_PER_GPU: Final = 24

OBJECT_STORE: Final = 0.3
"""Of a worker's memory; what actors reserve is beside it."""


def pools_of(night: Night, cloud: Cloud) -> dict[str, PoolSpec]:
    """The kinds of pools by the name of their group, as wide as all stages of a kind together;
    RecipeError where one flag cannot say where they run.
    """
    kinds: list[PoolSpec] = []
    for stage in stages_of(night.recipe):
        alike = [i for i, kind in enumerate(kinds) if _shape(kind) == _shape(stage.pool)]
        if not alike:
            kinds.append(stage.pool)
        for i in alike:
            wide = tuple(a + b for a, b in zip(kinds[i].pool, stage.pool.pool, strict=True))
            kinds[i] = kinds[i].model_copy(update={"pool": wide})
    _check(night, cloud, kinds)
    named: dict[str, PoolSpec] = {}
    for pool in kinds:
        kind = "gpu" if pool.gpus else "cpu"
        same = sum(1 for name in named if name.startswith(kind))
        named[f"{kind}-{same + 1}" if same else kind] = pool
    return named


def _shape(pool: PoolSpec) -> PoolSpec:
    return pool.model_copy(update={"pool": (1, 1)})


def _check(night: Night, cloud: Cloud, kinds: list[PoolSpec]) -> None:
    types = sorted({pool.accelerator for pool in kinds if pool.accelerator is not None})
    if types and (cloud.nodes is None or len(types) > 1):
        says = (
            "--nodes must say which nodes have it" if len(types) == 1 else "--nodes names one kind"
        )
        raise RecipeError(f"{night.file}: resources.accelerator: {' and '.join(types)}: {says}")
    test, gpus = lift_test_of(night.recipe), max(math.ceil(pool.gpus) for pool in kinds)
    if test is not None and test.config.gpus > gpus:
        raise RecipeError(
            f"{test.path}: gpus: {test.config.gpus:g} for each training, and the workers of "
            f"{night.file} have {gpus}, as its resources.gpus say; take gpus: {gpus}"
        )
    for pool in kinds:
        needs = _reserved(pool)
        if cloud.memory is not None and needs > _mebibytes(cloud.memory):
            raise RecipeError(
                f"--memory: {cloud.memory} is less than the {needs}Mi that a worker needs: "
                f"{actors(pool)} x {pool.memory}, and {OBJECT_STORE:.0%} for Ray's object store"
            )


def any_gpus(night: Night) -> bool:
    """Whether a pool of the recipe asks for GPUs."""
    return any(stage.pool.gpus for stage in stages_of(night.recipe))


def actors(pool: PoolSpec) -> int:
    """Actors of one worker."""
    return int(1 / pool.gpus + 1e-9) if 0 < pool.gpus < 1 else 1


def size(pool: PoolSpec, cloud: Cloud) -> tuple[int, int, int]:
    """CPUs, GPUs and MiB of one worker."""
    cpus, gpus = math.ceil(pool.cpus * actors(pool)) + 1, math.ceil(pool.gpus)
    if cloud.memory is not None:
        return cpus, gpus, _mebibytes(cloud.memory)
    usual = 1024 * (_GIB_PER_CPU * cpus + _GIB_PER_GPU * gpus)
    return cpus, gpus, max(usual, _reserved(pool))


def _reserved(pool: PoolSpec) -> int:
    """MiB that hold the memory which the actors of one worker reserve."""
    return math.ceil(actors(pool) * pool.memory_bytes / 2**20 / (1 - OBJECT_STORE))


def _mebibytes(text: str) -> int:
    return int(text[:-2]) * (1024 if text.endswith("Gi") else 1)
