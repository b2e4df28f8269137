"""What each stage of a run asks for, how wide its pool is, and which one will be the bottleneck.

Said by a dry run and before a run starts. A request that no machine can meet ends it there, with
what is missing and what there is. How long a copy takes in a stage is measured by runs: the records
of the sink tell, where the same ops, with the same models, on the same kind of actor have run
before. What was not measured is not guessed: then stages are compared by how often a copy passes a
network, which says nothing of how large the networks are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

from jobs.machines import joined, ray_cluster, this_machine, wait_for_machines
from jobs.run.plan import RunPlan
from pipeline.flow.pools import Cluster, Width, asks, missing, offers, widths
from pipeline.index.files import sink_errors
from pipeline.ops.sampled import PaintOp
from pipeline.recipe import FullRecipe
from pipeline.stages import Stage, stages_of
from schemas.errors import RecipeError
from schemas.recipe import digest_of

RECORDS: Final = 20
"""At most so many records of the sink are read, the newest, of the recipe of this name first."""

_RECORD: Final = re.compile(r"runs/.*(?<!\.plan)(?<!\.verdict-[0-9a-f]{16})\.json")


@dataclass(frozen=True)
class Load:
    """What one copy costs in a stage, on one actor: passes through networks on average, and
    seconds, None where nobody has measured them.
    """

    passes: float
    seconds: float | None


def check_pools(planned: RunPlan) -> None:
    """RecipeError, before Ray starts, where this machine is all there is and it is not enough."""
    if not joined():
        _check(planned, this_machine())


def widths_here(planned: RunPlan, chunks: int, console: Console) -> list[Width]:
    """The widths of the pools on the cluster that Ray has joined or is, once it has a machine for
    each; they are printed. RecipeError where there is none, and none comes.
    """
    stages = stages_of(planned.recipe)
    _check(planned, ray_cluster())
    cluster = wait_for_machines(stages, planned.recipe, console)
    found = widths(stages, cluster, chunks)
    _print(planned, cluster, found, console)
    return found


def print_stages(planned: RunPlan, chunks: int, console: Console) -> None:
    """The same, for a dry run: a cluster that RAY_ADDRESS names is joined and asked, Ray is not
    started.
    """
    from jobs.ray_session import ray_session

    if joined():
        with ray_session():
            cluster = ray_cluster()
    else:
        cluster = this_machine()
    _check(planned, cluster)
    _print(planned, cluster, widths(stages_of(planned.recipe), cluster, max(chunks, 1)), console)


def _check(planned: RunPlan, cluster: Cluster) -> None:
    stages = stages_of(planned.recipe)
    says = missing(stages, cluster, [stage.name(planned.recipe) for stage in stages])
    if says is not None:
        here = "" if joined() else "\n  that is this machine; for a cluster, set RAY_ADDRESS"
        raise RecipeError(f"{planned.file}: {says}{here}")


def _print(planned: RunPlan, cluster: Cluster, found: Sequence[Width], console: Console) -> None:
    loads = _loads(planned)
    table = Table(title="stages", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for heading in ("stage", "one actor asks for", "actors", "a copy takes"):
        table.add_column(heading, overflow="fold")
    for stage, width, load in zip(stages_of(planned.recipe), found, loads, strict=True):
        table.add_row(stage.name(planned.recipe), asks(stage.pool), _actors(width), _cost(load))
    console.print(table)
    grows = ", and it may grow" if cluster.grows else ""
    console.print(f"on {offers(cluster.nodes)}{grows}", highlight=False, markup=False)
    console.print(said(planned.recipe, found, loads), highlight=False, markup=False)


def _actors(width: Width) -> str:
    few = f"{width.least}" if width.least == width.most else f"{width.least} to {width.most}"
    return few if width.start == width.most else f"{few}, {width.start} at first"


def _cost(load: Load) -> str:
    passes = f"{load.passes:.3g} network passes" if load.passes else "no network"
    return f"{passes}, " + ("unmeasured" if load.seconds is None else f"{load.seconds:.3g} s")


def said(recipe: FullRecipe, found: Sequence[Width], loads: Sequence[Load]) -> str:
    """Which stage the others will wait for, in a sentence."""
    names = [stage.name(recipe) for stage in stages_of(recipe)]
    seconds = [load.seconds for load in loads if load.seconds is not None]
    measured = len(seconds) == len(loads)
    costs = seconds if measured else [load.passes for load in loads]
    per_copy = [cost / width.start for cost, width in zip(costs, found, strict=True)]
    worst = max(range(len(per_copy)), key=lambda i: per_copy[i])
    if measured:
        rate = f", {1 / per_copy[worst]:.3g} copies/s at first" if per_copy[worst] else ""
        return f"bottleneck: {names[worst]}{rate}, as measured in this sink"
    if len(names) == 1:
        return f"bottleneck: {names[0]}, the only stage; unmeasured in this sink"
    if not per_copy[worst]:
        return "bottleneck: unmeasured in this sink, and no stage has a network"
    return (
        f"bottleneck: {names[worst]}, if a pass costs the same everywhere; unmeasured in this sink"
    )


def stage_records(planned: RunPlan, copies: int, seconds: Sequence[float]) -> list[dict[str, Any]]:
    """What the record of a run keeps of its stages; nothing where this session wove nothing."""
    if not copies or not seconds:
        return []
    stages = zip(stages_of(planned.recipe), seconds, strict=True)
    return [
        {
            "stage": stage.name(planned.recipe),
            "like": _like(planned, stage),
            "copies": copies,
            "seconds": round(spent, 3),
            "gpus": stage.pool.gpus,
        }
        for stage, spent in stages
    ]


def _like(planned: RunPlan, stage: Stage) -> str:
    """A digest over what shapes how long a copy takes in a stage, as far as a recipe says it."""
    recipe, pool = planned.recipe, stage.pool
    ops = [recipe.ops[i].model_dump(mode="json", exclude={"resources"}) for i in stage.ops]
    gates = [gate.model_dump(mode="json") for gate in recipe.gates] if stage.ends else []
    models = {name: planned.models[name] for name in sorted(stage.models(recipe))}
    return digest_of([ops, gates, models, pool.gpus, pool.cpus, pool.accelerator])


def _loads(planned: RunPlan) -> list[Load]:
    known = _measured(planned)
    return [
        Load(_passes(planned.recipe, stage), known.get(_like(planned, stage)))
        for stage in stages_of(planned.recipe)
    ]


def _passes(recipe: FullRecipe, stage: Stage) -> float:
    gates = recipe.gates if stage.ends else ()
    return sum(passes(recipe.ops[i]) for i in stage.ops) + sum(
        1 for gate in gates if gate.model_name is not None
    )


def passes(op: Any) -> float:
    """How often one copy passes the op's network, on average over the copies: the steps of what
    is sampled (those that the op would take, where neither recipe nor card names them), else one.
    """
    if op.model_name is None:
        return 0.0
    steps = (op.steps or op.native_steps) if isinstance(op, PaintOp) else 1
    return float(op.p * steps)


def _measured(planned: RunPlan) -> dict[str, float]:
    """Seconds of one copy by `_like`, of the newest run that has measured it."""
    found: dict[str, tuple[str, float]] = {}
    for record in _records(planned):
        for stage in record.get("stages", ()):
            when, copies = str(record.get("finished", "")), int(stage["copies"])
            if copies and when >= found.get(stage["like"], ("", 0.0))[0]:
                found[stage["like"]] = when, float(stage["seconds"]) / copies
    return {like: seconds for like, (_, seconds) in found.items()}


def _records(planned: RunPlan) -> Iterator[Mapping[str, Any]]:
    store = planned.store
    with sink_errors(store):
        times = store.times("runs")
        runs = [path for path in times if _RECORD.fullmatch(path)]
        runs.sort(key=lambda path: times[path], reverse=True)
        own = f"runs/{planned.file.stem}-"
        for path in sorted(runs, key=lambda path: not path.startswith(own))[:RECORDS]:
            yield json.loads(store.read(path))
