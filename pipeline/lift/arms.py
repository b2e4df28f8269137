"""The augmented images of an arm: copies of the labelled images, and of no other.

Copies are woven here by the same chain as in a run, from the labelled images as one chunk: an op
that looks at others than its own (copy-paste) sees these alone. They are kept under a digest of all
that shapes them. From a run of a sink, published or not, the copies of the labelled images are
taken; one with an op that looked at other images is refused, for it would show the student what it
must not know.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, get_args

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.chain.weave import RunContext, weave_chunk
from pipeline.gates import AnyGate
from pipeline.index.files import open_sink, read_index, sink_errors
from pipeline.lift.config import Arm, LiftConfig
from pipeline.lift.denoisers import trained, training_digest
from pipeline.lift.subset import Drawn
from pipeline.model_check import check_models, digests
from pipeline.models import load_models
from pipeline.ops import AnyOp
from pipeline.recipe import FullRecipe, load_recipe
from pipeline.samples import load_samples
from pipeline.storage.store import Store
from pipeline.tars.tar import write_tar
from pipeline.training.config import DenoiserTraining
from schemas.errors import RecipeError, RunError
from schemas.index import IndexRow, table_to_rows
from schemas.models import NativeModel
from schemas.recipe import digest_of
from schemas.sample import Sample

WOVEN: Final = "woven"
_PEERS: Final = {
    op.model_fields["kind"].default for op in get_args(get_args(AnyOp)[0]) if op.needs_peers
}
"""The kinds of op that look at other images than their own."""


@dataclass(frozen=True)
class Weaving:
    """A recipe over the labelled images, and the digest of all that shapes what it makes."""

    recipe: FullRecipe
    digest: str
    denoisers: dict[str, DenoiserTraining]


def weaving_of(config: LiftConfig, name: str) -> Weaving | None:
    """What an arm weaves; None where it weaves nothing. RecipeError where a model does not fit."""
    arm = config.arms[name]
    if arm.recipe is not None:
        recipe = load_recipe(arm.recipe).model_copy(update={"source": config.data})
    elif arm.ops:
        recipe = _inline(config, arm)
    else:
        return None
    own = {name: one for name, one in config.denoisers.items() if name in recipe.models}
    given = {name: spec for name, spec in recipe.models.items() if name not in own}
    models = digests(check_models(recipe.model_copy(update={"models": given})))
    models |= {name: training_digest(training) for name, training in own.items()}
    return Weaving(recipe, recipe.digest(models), own)


def _inline(config: LiftConfig, arm: Arm) -> FullRecipe:
    steps: list[AnyOp | AnyGate] = [*arm.ops, *arm.gates]
    used = {step.model_name for step in steps}
    untrained = {name: NativeModel(native=name) for name in config.denoisers}
    models = {**config.models, **untrained}
    return FullRecipe(
        source=config.data,
        sink=config.out,
        copies=arm.copies,
        ops=arm.ops,
        gates=arm.gates,
        models={name: spec for name, spec in models.items() if name in used},
    )


def augmented(
    config: LiftConfig, name: str, labelled: Drawn, seed: int, device: str
) -> list[Sample]:
    """The augmented images of an arm for these labelled ones; RunError where there is none."""
    arm = config.arms[name]
    table = run_rows(arm)
    if table is not None:
        return _of_run(config, name, table, labelled)
    weaving = weaving_of(config, name)
    if weaving is None:
        return []
    return _woven(Store(config.out), name, weaving, labelled, seed, device)


def _woven(
    store: Store, name: str, weaving: Weaving, labelled: Drawn, seed: int, device: str
) -> list[Sample]:
    """Made, or made before."""
    recipe = weaving.recipe.model_copy(update={"seed": (weaving.recipe.seed + seed) % 2**63})
    contents = [one.content for one in labelled.encoded]
    path = f"{WOVEN}/{digest_of([weaving.digest, recipe.seed, contents])}.tar"
    with sink_errors(store):
        if not store.exists(path):
            with ExitStack() as stack:
                own = {
                    model: stack.enter_context(trained(store, training, labelled, seed, device))
                    for model, training in weaving.denoisers.items()
                }
                ready = recipe.model_copy(update={"models": {**recipe.models, **own}})
                store.create(path, _tar(name, ready, weaving, labelled, device))
    suffix = recipe.output.suffix
    made = recipe.source.model_copy(update={"shards": (store.at(path),), "image": (suffix,)})
    samples, problems = load_samples(made)
    if problems:
        raise RunError(f"{store.at(path)}: {problems[0]}; delete it, and it is made again")
    return samples


def _tar(name: str, recipe: FullRecipe, weaving: Weaving, labelled: Drawn, device: str) -> bytes:
    models = load_models(recipe.models, device) if recipe.models else {}
    context = RunContext("lift", weaving.digest, "lift")
    copies = weave_chunk(labelled.encoded, recipe, models, context)
    kept = [copy for copy in copies if copy.row.status == "kept"]
    if not kept:
        reasons = sorted({str(copy.row.reason) for copy in copies})
        raise RunError(f"arms.{name}: not one copy was kept ({', '.join(reasons)})")
    files = [
        (f"{copy.row.key}.{suffix}", data)
        for copy in kept
        for suffix, data in sorted(copy.members.items())
    ]
    return write_tar(files)[0]


def run_rows(arm: Arm) -> pa.Table | None:
    """The index of an arm's run, as far as that is committed; None where it has none."""
    if arm.sink is None or arm.run is None:
        return None
    return read_index(open_sink(arm.sink), [arm.run], pending=True)


def run_copies(table: pa.Table, name: str, labelled: Collection[str]) -> list[IndexRow]:
    """A run's kept copies of the labelled images, which are named by content. RunError where there
    is none, RecipeError where ops looked at other images.
    """
    known = pc.is_in(table["source_hash"], pa.array(labelled, pa.string()))
    rows = [row for row in table_to_rows(table.filter(known)) if row.status == "kept"]
    if not rows:
        raise RunError(f"arms.{name}: its run has kept no copy of the labelled images")
    looked = sorted({op.kind for row in rows for op in row.ops if op.kind in _PEERS})
    if looked and not pc.all(known).as_py():
        raise RecipeError(
            f"arms.{name}: its run used {', '.join(looked)}, which looks at images beyond the "
            "labelled ones; give the arm its recipe instead, and the copies are made from them"
        )
    return rows


def _of_run(config: LiftConfig, name: str, table: pa.Table, labelled: Drawn) -> list[Sample]:
    rows = run_copies(table, name, labelled.contents)
    store = open_sink(config.arms[name].sink or "")
    keys = {row.key for row in rows}
    shards = sorted({store.at(row.shard) for row in rows if row.shard is not None})
    suffixes = _suffixes([member.name for row in rows for member in row.members])
    source = config.data.model_copy(update={"shards": tuple(shards), "image": suffixes})
    samples, _ = load_samples(source)
    return [sample for sample in samples if sample.key in keys]


def _suffixes(names: Sequence[str]) -> tuple[str, ...]:
    found = {name.rpartition(".")[2] for name in names}
    return tuple(suffix for suffix in ("png", "jpg", "webp") if suffix in found)
