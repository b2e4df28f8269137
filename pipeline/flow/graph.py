"""The Ray Data graph of a run: read, weave, commit.

    read tasks ──▶ pool of actors (──▶ pool of actors …) ──▶ write tasks ──▶ receipts to the driver
    one a chunk    ops and gates, stage by stage             tar, then index file = commit

One task = one block = one chunk, at every stage: so batches, retries and commits do not depend on
how many workers there are, and a replayed task gives the same block. Pixels never reach the driver.
A recipe without pools of its own for an op has one stage (`pipeline.stages`), and one pool.

A worker or a node that dies is replaced by Ray, and its chunks are done again, with the same
result; the journal of attempts (`pipeline.chain.attempts`) ends what would die for ever. An error
with a message for the user comes out as it was raised, Ray's own errors as what they mean to the
user. Folders of one machine are refused where the cluster has several: each would fill its own.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from typing import Any, Final

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset, TaskPoolStrategy
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from pipeline import metering
from pipeline.chain.attempts import begin, part_attempt, weave_attempt
from pipeline.chain.under_way import UnderWay, attempted, begun
from pipeline.chain.woven import RunContext
from pipeline.flow.blocks import encoded_block, encoded_samples, woven_block, woven_copies
from pipeline.flow.carried import carried
from pipeline.flow.errors import IO_RETRIES, unwrapped
from pipeline.flow.pools import Width
from pipeline.flow.reach import check_reach, local_places
from pipeline.flow.source import chunk_of, held, supplied
from pipeline.flow.spec import FlowSpec
from pipeline.flow.supply import Supply, ahead_of
from pipeline.flow.under_way_block import samples_under_way, under_way_block
from pipeline.known.images import Known, load_known
from pipeline.model import Models
from pipeline.models import load_models
from pipeline.recipe import FullRecipe
from pipeline.sink.commit import Receipt, commit_chunk
from pipeline.source.plan import Chunk, read_chunk
from pipeline.stages import Stage, stages_of
from pipeline.storage.store import Store

IO_CPUS: Final = 0.01
"""What a read or write task asks for: next to nothing, for it waits for the store more than it
computes. How many there are at once is bounded by their number, not by this.
"""

ACTOR_SHARE: Final = 0.98
"""Of the CPUs that an actor is said to have; the rest is left to reading and writing. Actors that
took whole CPUs could take all of what is left when a node is lost, and would wait for ever for what
nobody could read (0 for tasks would do, too, but puts them on head nodes that are to do nothing).
"""

LOST_STARTS: Final = 5
"""Actors in a row that die while they start; Ray's own 0 would end the run with the first."""

NO_PROGRESS_S: Final = 6 * 3600
"""Above the slowest chunk: Ray ends a run in which nothing moves for so long."""


def run_flow(
    chunks: Sequence[Chunk],
    recipe: FullRecipe,
    run: str,
    digest: str,
    session: str,
    attempts: int,
    widths: Sequence[Width],
    known: Sequence[str] = (),
) -> Generator[Receipt, None, None]:
    """Weaves and commits these chunks, in any order; one receipt for each as it is committed.

    Ray must be up. `session` names this start of the run, in the journal of attempts; `attempts`
    are the copies of the whole run, `widths` those of the recipe's pools, stage by stage, `known`
    the files of fingerprints in the sink. Closing the iterator stops the work after the chunks that
    are under way.
    """
    local = local_places(chunks, recipe.sink)
    check_reach(local, ray.nodes())
    text = recipe.model_dump_json()
    spec = FlowSpec(run, digest, text, recipe.sink, session, attempts, tuple(known))
    # A cluster that grows is read for as wide as its pools may get.
    widest = max(int(ray.cluster_resources().get("CPU", 0)), *(width.most for width in widths))
    at_once = min(widest, len(chunks))
    _configure(DataContext.get_current())
    metering.left(run, remaining := len(chunks))
    supply = Supply(chunks, ahead_of(at_once, sum(width.most for width in widths)), held)
    try:
        dataset = _graph(supplied(supply), spec, widths, at_once)
        for block in dataset.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        ):
            remaining -= len(block)
            metering.left(run, remaining)
            for receipt in map(_receipt, block.to_pylist()):
                supply.done(receipt.chunk)
                yield receipt
            check_reach(local, ray.nodes() if local else ())  # a cluster may have grown
    except RayError as error:
        raise unwrapped(error) from None


def _graph(dataset: Dataset, spec: FlowSpec, widths: Sequence[Width], at_once: int) -> Dataset:
    """`at_once`: how many chunks may be read at a time, and how many written."""
    with warnings.catch_warnings():
        # Retries have no named argument, and Ray 2.60 announces that there will be named ones only.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        dataset = _tasks(dataset, partial(_read, spec=spec), at_once)
        for stage, width in zip(stages_of(spec.recipe), widths, strict=True):
            dataset = _staged(dataset, stage, width, spec)
        return _tasks(dataset, partial(_commit, spec=spec), at_once)


def _tasks(dataset: Dataset, work: Callable[[pa.Table], pa.Table], at_once: int) -> Dataset:
    return dataset.map_batches(
        work,
        compute=TaskPoolStrategy(at_once),
        num_cpus=IO_CPUS,
        max_retries=IO_RETRIES,
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
    )


def _staged(dataset: Dataset, stage: Stage, width: Width, spec: FlowSpec) -> Dataset:
    """One more pool of actors, at its first width from the start."""
    pool = stage.pool
    # `map_batches` wants a batch size where there are GPUs, and one would join blocks: it checks
    # that, and then calls this one with all that it was given.
    return dataset.map_batches_internal(
        _Weaver,
        fn_constructor_args=(spec, stage),
        compute=ActorPoolStrategy(
            min_size=width.least,
            max_size=width.most,
            initial_size=width.start,
            max_tasks_in_flight_per_actor=2,
        ),
        num_cpus=pool.cpus * ACTOR_SHARE,
        num_gpus=pool.gpus,
        memory=pool.memory_bytes or None,
        accelerator_type=pool.accelerator,
        label_selector=dict(pool.labels) or None,
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
    )


def _configure(context: DataContext) -> None:
    context.target_max_block_size = None  # with it, a replayed task lost and doubled rows
    context.max_errored_blocks = 0
    context.max_consecutive_actor_init_deaths = LOST_STARTS
    context.execution_no_progress_timeout_s = NO_PROGRESS_S
    context.enable_progress_bars = False
    context.raise_original_map_exception = True
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False
    context.execution_options.preserve_order = False


def _read(block: pa.Table, spec: FlowSpec) -> pa.Table:
    chunk = chunk_of(block)
    with carried():
        encoded = read_chunk(chunk, spec.recipe.source)
        return metering.stamped(encoded_block(chunk.id, encoded))


class _Weaver:
    """One actor: the ops of one stage, with their models; in the last stage the gates."""

    def __init__(self, spec: FlowSpec, stage: Stage) -> None:
        self._spec = spec
        self._stage = stage

    @cached_property
    def _models(self) -> Models:
        """Those of this stage. Loaded with the first chunk and not before: an actor that fails to
        start hides why.
        """
        recipe, pool = self._spec.recipe, self._stage.pool
        its = self._stage.models(recipe)
        if not its:
            return {}
        import torch

        torch.set_num_threads(max(1, int(pool.cpus)))
        device = "cuda" if pool.gpus > 0 else "cpu"
        specs = {name: spec for name, spec in recipe.models.items() if name in its}
        return load_models(specs, device, self._spec.attempts)

    @cached_property
    def _known(self) -> Known | None:
        spec = self._spec
        return load_known(Store(spec.sink), spec.known) if spec.known else None

    def __call__(self, block: pa.Table) -> pa.Table:
        metering.waited(block, self._stage.name(self._spec.recipe))
        return metering.stamped(self._worked(block))

    def _worked(self, block: pa.Table) -> pa.Table:
        chunk, items, before = self._received(block)
        spec, stage = self._spec, self._stage
        with carried():
            attempt = begin(Store(spec.sink), spec.run, stage.journal(chunk), spec.session)
            models = self._models
            start = time.perf_counter()
            if not stage.ends:
                items = part_attempt(attempt, items, stage, spec.recipe, models)
                return under_way_block(chunk, items, (*before, time.perf_counter() - start))
            context = RunContext(spec.run, spec.recipe_digest, chunk, self._known)
            woven = weave_attempt(attempt, items, stage, spec.recipe, models, context)
            seconds = (*before, time.perf_counter() - start)
        return woven_block([(copy.row, copy.members) for copy in woven], attempted(items), seconds)

    def _received(self, block: pa.Table) -> tuple[str, list[UnderWay], tuple[float, ...]]:
        """The chunk's id, its samples, and the seconds of the stages before."""
        if not self._stage.first:
            return samples_under_way(block)
        chunk, encoded = encoded_samples(block)
        return chunk, begun(encoded, self._spec.recipe), ()


def _commit(block: pa.Table, spec: FlowSpec) -> pa.Table:
    metering.waited(block, "commit")
    woven, planned, seconds = woven_copies(block)
    with carried(), metering.committing(spec.run, [row for row, _ in woven]):
        receipt = commit_chunk(Store(spec.sink), spec.run, woven[0][0].chunk, woven, planned)
    return pa.Table.from_pylist([asdict(replace(receipt, stages=seconds))])


def _receipt(record: dict[str, Any]) -> Receipt:
    return Receipt(**{**record, "stages": tuple(record["stages"])})
