"""The Ray Data graph of a run: read, weave, commit. The one file of the library that imports ray.

    read tasks ──▶ pool of actors ──▶ write tasks ──▶ receipts to the driver
    one a chunk    ops and gates      tar, then index file = commit

One task = one block = one chunk, at every stage: so batches, retries and commits do not depend on
how many workers there are, and a replayed task gives the same block. Pixels never reach the driver.

A worker or a node that dies is replaced by Ray, and its chunks are done again, with the same
result; the journal of attempts (`pipeline.attempts`) ends what would die for ever. An error with a
message for the user comes out as it was raised, Ray's own errors as what they mean to the user.
Folders of one machine are refused where the cluster has several: each would fill its own.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import Any, Final

import pyarrow as pa
import ray
from ray.data import (
    ActorPoolStrategy,
    DataContext,
    Dataset,
    Datasource,
    ReadTask,
    TaskPoolStrategy,
)
from ray.data.block import BlockMetadata
from ray.exceptions import (
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.util.annotations import RayDeprecationWarning

from pipeline import metering
from pipeline.attempts import begin, weave_attempt
from pipeline.blocks import encoded_block, encoded_samples, woven_block, woven_copies
from pipeline.carried import CarriedError, carried
from pipeline.known import Known, load_known
from pipeline.model import Models
from pipeline.models import load_models
from pipeline.reach import check_reach, local_places
from pipeline.recipe import FullRecipe
from pipeline.sink import Receipt, commit_chunk
from pipeline.source import Chunk, read_chunk
from pipeline.store import Store
from pipeline.weave import planned_copies
from pipeline.woven import RunContext
from schemas.errors import FullError, NoiseloomError, RunError
from schemas.recipe import PoolSpec, Source

IO_CPUS: Final = 0.01
"""What a read or write task asks for: next to nothing, for it waits for the store more than it
computes. How many there are at once is bounded by their number, not by this.
"""

ACTOR_SHARE: Final = 0.98
"""Of the CPUs that an actor is said to have; the rest is left to reading and writing. Actors that
took whole CPUs could take all of what is left when a node is lost, and would wait for ever for what
nobody could read (0 for tasks would do, too, but puts them on head nodes that are to do nothing).
"""

IO_SHARE: Final = 1.0
"""CPUs that an embedded Ray has beyond the cores, for reading and writing beside busy actors."""

IO_RETRIES: Final = 15
"""Deaths of one read or write task, by lost nodes too, before the run stops; Ray's own -1 would try
for ever what no worker survives. With actors its -1 is right: the journal of attempts bounds it.
"""

LOST_STARTS: Final = 5
"""Actors in a row that die while they start; Ray's own 0 would end the run with the first."""

NO_PROGRESS_S: Final = 6 * 3600
"""Above the slowest chunk: Ray ends a run in which nothing moves for so long."""


@dataclass(frozen=True)
class FlowSpec:
    """What every stage of one run needs to know; it travels to all workers."""

    run: str
    recipe_digest: str
    recipe_json: str
    sink: str
    session: str
    attempts: int
    known: tuple[str, ...] = ()

    @cached_property
    def recipe(self) -> FullRecipe:
        """The recipe, parsed once per process: generic pydantic models do not pickle by name."""
        return FullRecipe.model_validate_json(self.recipe_json)


def run_flow(
    chunks: Sequence[Chunk],
    recipe: FullRecipe,
    run: str,
    digest: str,
    session: str,
    attempts: int,
    known: Sequence[str] = (),
) -> Generator[Receipt, None, None]:
    """Weaves and commits these chunks, in any order; one receipt for each as it is committed.

    Ray must be up. `session` names this start of the run, in the journal of attempts; `attempts`
    are the copies of the whole run, `known` the files of fingerprints in the sink. Closing the
    iterator stops the work after the chunks that are under way.
    """
    local = local_places(chunks, recipe.sink)
    check_reach(local, ray.nodes())
    text = recipe.model_dump_json()
    spec = FlowSpec(run, digest, text, recipe.sink, session, attempts, tuple(known))
    has = ray.cluster_resources()
    pool, at_once = fitting_pool(recipe.resources, has), int(has["CPU"])
    _configure(DataContext.get_current())
    metering.left(run, remaining := len(chunks))
    try:
        dataset = _graph(chunks, spec, pool, at_once)
        for block in dataset.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        ):
            remaining -= len(block)
            metering.left(run, remaining)
            yield from (Receipt(**record) for record in block.to_pylist())
            check_reach(local, ray.nodes() if local else ())  # a cluster may have grown
    except RayError as error:
        raise unwrapped(error) from None


def _graph(chunks: Sequence[Chunk], spec: FlowSpec, pool: PoolSpec, at_once: int) -> Dataset:
    """`at_once`: how many chunks may be read at a time, and how many written."""
    with warnings.catch_warnings():
        # Retries have no named argument, and Ray 2.60 announces that there will be named ones only.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        return (
            ray.data.read_datasource(
                _Chunks(chunks, spec.recipe.source),
                override_num_blocks=len(chunks),
                concurrency=at_once,
                num_cpus=IO_CPUS,
                ray_remote_args={"max_retries": IO_RETRIES},
            )
            .map_batches(
                _Weaver,
                fn_constructor_args=(spec,),
                compute=ActorPoolStrategy(
                    min_size=pool.pool[0], max_size=pool.pool[1], max_tasks_in_flight_per_actor=2
                ),
                num_cpus=pool.cpus * ACTOR_SHARE,
                num_gpus=pool.gpus,
                batch_size=None,
                batch_format="pyarrow",
                zero_copy_batch=True,
            )
            .map_batches(
                partial(_commit, spec=spec),
                compute=TaskPoolStrategy(at_once),
                num_cpus=IO_CPUS,
                max_retries=IO_RETRIES,
                batch_size=None,
                batch_format="pyarrow",
                zero_copy_batch=True,
            )
        )


def fitting_pool(spec: PoolSpec, has: dict[str, float]) -> PoolSpec:
    """The pool as far as this machine or cluster can hold it; RunError where not one actor fits."""
    cpus = has.get("CPU", 0) - IO_SHARE
    fits = int(cpus // spec.cpus)
    if spec.gpus:
        fits = min(fits, int(has.get("GPU", 0) // spec.gpus))
    if fits < 1:
        raise RunError(
            f"resources: one actor asks for {spec.cpus:g} CPUs and {spec.gpus:g} GPUs; "
            f"there are {cpus:g} CPUs and {has.get('GPU', 0):g} GPUs"
        )
    least, most = spec.pool
    return spec.model_copy(update={"pool": (min(least, fits), min(most, fits))})


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


class _Chunks(Datasource):  # type: ignore[misc]
    """A planned list of chunks: one read task for each."""

    def __init__(self, chunks: Sequence[Chunk], source: Source) -> None:
        super().__init__()
        self._chunks = chunks
        self._source = source

    def estimate_inmemory_data_size(self) -> int:
        return sum(_size(chunk) for chunk in self._chunks)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        return [
            ReadTask(partial(_read, chunk, self._source), _metadata(chunk))
            for chunk in self._chunks
        ]


def _size(chunk: Chunk) -> int:
    return sum(member.size for sample in chunk.samples for member in sample.members)


def _metadata(chunk: Chunk) -> BlockMetadata:
    return BlockMetadata(
        num_rows=len(chunk.samples), size_bytes=_size(chunk), input_files=None, exec_stats=None
    )


def _read(chunk: Chunk, source: Source) -> list[pa.Table]:
    with carried():
        return [metering.stamped(encoded_block(chunk.id, read_chunk(chunk, source)))]


class _Weaver:
    """One actor: ops, gates and their models."""

    def __init__(self, spec: FlowSpec) -> None:
        self._spec = spec

    @cached_property
    def _models(self) -> Models:
        """Loaded with the first chunk and not before: an actor that fails to start hides why."""
        recipe = self._spec.recipe
        if not recipe.models:
            return {}
        import torch

        torch.set_num_threads(max(1, int(recipe.resources.cpus)))
        device = "cuda" if recipe.resources.gpus > 0 else "cpu"
        return load_models(recipe.models, device, self._spec.attempts)

    @cached_property
    def _known(self) -> Known | None:
        spec = self._spec
        return load_known(Store(spec.sink), spec.known) if spec.known else None

    def __call__(self, block: pa.Table) -> pa.Table:
        metering.waited(block, "weave")
        chunk_id, encoded = encoded_samples(block)
        spec = self._spec
        with carried():
            attempt = begin(Store(spec.sink), spec.run, chunk_id, spec.session)
            models = self._models
            context = RunContext(spec.run, spec.recipe_digest, chunk_id, self._known)
            start = time.perf_counter()
            woven = weave_attempt(attempt, encoded, spec.recipe, models, context)
            seconds = time.perf_counter() - start
        attempted = planned_copies(encoded, spec.recipe)
        rows = [(copy.row, copy.members) for copy in woven]
        return metering.stamped(woven_block(rows, attempted, seconds))


def _commit(block: pa.Table, spec: FlowSpec) -> pa.Table:
    metering.waited(block, "commit")
    woven, attempted, seconds = woven_copies(block)
    with carried(), metering.committing(spec.run, [row for row, _ in woven]):
        receipt = commit_chunk(Store(spec.sink), spec.run, woven[0][0].chunk, woven, attempted)
    return pa.Table.from_pylist([asdict(replace(receipt, seconds=seconds))])


def unwrapped(error: RayError) -> NoiseloomError:
    """What was raised in a task, if it has a message for the user; otherwise what Ray's error means
    to the user, or all that Ray says.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, CarriedError):
            return cause.error
        known = _meaning(cause)
        if known is not None:
            return known
        cause = cause.cause if isinstance(cause, RayTaskError) else cause.__cause__
    return RunError(f"a worker failed; start the run again to resume it\n{error}")


def _meaning(error: BaseException) -> NoiseloomError | None:
    if isinstance(error, OutOfDiskError | ObjectStoreFullError):
        return FullError(
            "no room for the blocks under way: the disk of Ray's folder (RAY_TMPDIR, or /tmp) and "
            "/dev/shm are full; make room, or take a smaller chunk_size, and start the same "
            "command again"
        )
    if isinstance(error, OutOfMemoryError):
        return RunError(
            "a machine ran out of memory, again and again; take a smaller chunk_size or "
            "resources.pool, or more memory, and start the run again to resume it"
        )
    if isinstance(error, WorkerCrashedError):
        return RunError(
            f"a process that reads or writes died {IO_RETRIES + 1} times on the same chunk, most "
            "likely out of memory; take a smaller chunk_size, and start the run again to resume it"
        )
    return None
