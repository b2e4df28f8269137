"""The stages of a recipe: which ops run together in one pool of actors.

Consecutive ops that ask for the same `resources` are one stage; an op without any has those of the
recipe, and so have the gates. So a recipe without pools of its own is one stage: an image is
decoded once and never leaves the GPU between ops. A stage boundary hands the copies on as raw
pixels, one block for a chunk. What comes out is the same either way, and no digest holds the pools.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from pipeline.model import Model, Models
from pipeline.models import load_models
from pipeline.problems import Place, Problem
from pipeline.recipe import FullRecipe
from schemas.pools import PoolSpec


@dataclass(frozen=True)
class Stage:
    """Some consecutive ops, by their positions in the recipe, and for the last stage the gates.
    `place`: where the recipe says what the pool is.
    """

    ops: range
    ends: bool
    pool: PoolSpec
    place: str

    @property
    def first(self) -> bool:
        """Whether it begins with what was read."""
        return self.ops.start == 0

    def journal(self, chunk: str) -> str:
        """What the journal of attempts calls this stage of a chunk."""
        return chunk if self.first else f"{chunk}.{self.ops.start}"

    def needs_peers(self, recipe: FullRecipe) -> bool:
        """Whether an op of it looks at other samples of the chunk."""
        return any(recipe.ops[i].needs_peers for i in self.ops)

    def models(self, recipe: FullRecipe) -> frozenset[str]:
        """The names of the models that it uses."""
        steps = [recipe.ops[i] for i in self.ops] + (list(recipe.gates) if self.ends else [])
        return frozenset(step.model_name for step in steps if step.model_name is not None)

    def name(self, recipe: FullRecipe) -> str:
        """Its ops as rows of the index call them, and "gates"."""
        names = [f"{recipe.ops[i].kind}#{i}" for i in self.ops]
        return " + ".join(names + (["gates"] if self.ends and recipe.gates else []))


def stages_of(recipe: FullRecipe) -> tuple[Stage, ...]:
    """The stages in order; the last one `ends`, and only that."""
    pools = [op.resources or recipe.resources for op in recipe.ops]
    stages = []
    for _, positions in groupby(range(len(pools)), key=lambda i: pools.index(pools[i])):
        ops = list(positions)
        pool, own = pools[ops[0]], [i for i in ops if recipe.ops[i].resources is not None]
        place = f"ops[{own[0]}].resources" if len(own) == len(ops) else "resources"
        stages.append(Stage(range(ops[0], ops[-1] + 1), False, pool, place))
    if recipe.gates and stages[-1].pool != recipe.resources:
        after = range(len(pools), len(pools))
        stages.append(Stage(after, False, recipe.resources, "resources"))
    last = stages.pop()
    return (*stages, Stage(last.ops, True, last.pool, last.place))


def devices_of(recipe: FullRecipe) -> dict[str, str]:
    """On which device each model runs that the recipe uses: `cuda` where its pool asks for GPUs.
    All pools that use a model agree (`pool_problems`).
    """
    return {
        name: _device(stage.pool)
        for stage in stages_of(recipe)
        for name in sorted(stage.models(recipe))
    }


def load_models_of(recipe: FullRecipe, attempts: int = 0) -> Models:
    """Every model that the recipe uses, in one process, on the device of its pool; `attempts` as
    for `load_models`.
    """
    models: dict[str, Model] = {}
    for name, device in devices_of(recipe).items():
        models |= load_models({name: recipe.models[name]}, device, attempts)
    return models


def _device(pool: PoolSpec) -> str:
    return "cuda" if pool.gpus > 0 else "cpu"


def pool_problems(recipe: FullRecipe) -> Iterator[Problem]:
    """What can be said of the pools without a cluster."""
    pools: list[tuple[Place, PoolSpec | None]] = [(("resources",), recipe.resources)]
    pools += [(("ops", i, "resources"), op.resources) for i, op in enumerate(recipe.ops)]
    for place, pool in pools:
        if pool is not None and pool.pool[0] > pool.pool[1]:
            says = (
                f"is [{pool.pool[0]}, {pool.pool[1]}]; the first is the least, the second the most"
            )
            yield Problem((*place, "pool"), says)
    used: dict[str, Stage] = {}
    for stage in stages_of(recipe):
        for name in sorted(stage.models(recipe)):
            other = used.setdefault(name, stage)
            if _device(other.pool) != _device(stage.pool):
                says = (
                    f"is used by {other.name(recipe)} and {stage.name(recipe)}, of which one has "
                    "a GPU and one has none: a copy could not be made again"
                )
                hint = "give both GPUs or none, or name the same weights twice"
                yield Problem(("models", name), says, (hint,))
