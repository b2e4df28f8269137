"""Where a Ray Data graph begins: an operator that asks a `Supply` for its next chunk.

Ray 2.60 has no public way to hand out inputs one by one, so this builds on two of its inner classes
(`InputDataBuffer`, `LogicalOperator`), and on the table by which it plans. It also drops what Ray
Data keeps of each finished task for a report that nobody here asks for: 3 KB a chunk.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.data import DataContext, Dataset
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.interfaces import BlockEntry, RefBundle
from ray.data._internal.execution.operators.input_data_buffer import InputDataBuffer
from ray.data._internal.logical.interfaces import LogicalOperator, LogicalPlan, SourceOperator
from ray.data._internal.planner.planner import Planner
from ray.data._internal.stats import DatasetStats
from ray.data.block import BlockAccessor

from pipeline.flow.supply import Supply
from pipeline.source.plan import Chunk

CHUNK = "chunk"
"""The one column of what is handed out: a pickled chunk, one a block."""


def held(chunk: Chunk) -> RefBundle:
    """A chunk as Ray passes it on: a block of one row, in the object store."""
    block = pa.table({CHUNK: pa.array([pickle.dumps(chunk)], pa.binary())})
    metadata = BlockAccessor.for_block(block).get_metadata()
    entry = BlockEntry(ray.put(block), metadata)
    return RefBundle((entry,), schema=block.schema, owns_blocks=False)


def chunk_of(block: pa.Table) -> Chunk:
    """What `held` put there."""
    (pickled,) = block[CHUNK].to_pylist()
    chunk: Chunk = pickle.loads(pickled)  # noqa: S301 - written by this run's own driver
    return chunk


def supplied(supply: Supply[RefBundle]) -> Dataset:
    """A dataset of one block for each chunk of the supply; it can be gone through once."""
    _known_to_ray()
    context = DataContext.get_current().copy()
    if _Forgets not in context.custom_execution_callback_classes:
        context.custom_execution_callback_classes.append(_Forgets)
    stats = DatasetStats(metadata={}, parent=None)
    return Dataset(LogicalPlan(_Supplied(supply), context), context, stats)


@dataclass(frozen=True, repr=False, eq=False)
class _Supplied(LogicalOperator, SourceOperator):  # type: ignore[misc]
    """The supply, in Ray's logical plan."""

    supply: Supply[RefBundle]

    def output_data(self) -> None:
        return None

    @property
    def num_outputs(self) -> int:
        return int(self.supply.total)


class _Supplying(InputDataBuffer):  # type: ignore[misc]
    """The supply, at work. Ray asks it in every step, and takes what there is."""

    def __init__(self, context: DataContext, supply: Supply[RefBundle]) -> None:
        super().__init__(context, input_data=[])
        self._supply = supply
        self._estimated_num_output_bundles = supply.total
        self._is_execution_marked_finished = False  # as Ray's own is from the start

    def has_next(self) -> bool:
        return not self._is_execution_marked_finished and self._supply.has_next()

    def has_execution_finished(self) -> bool:
        return self._is_execution_marked_finished or self._supply.exhausted

    def _get_next_inner(self) -> RefBundle:
        bundle = self._supply.take()
        self._metrics.on_input_received(bundle)
        return bundle


def _known_to_ray() -> None:
    Planner._DEFAULT_PLAN_FNS.setdefault(_Supplied, _operator)


def _operator(logical: _Supplied, _inputs: list[Any], context: DataContext) -> _Supplying:
    return _Supplying(context, logical.supply)


class _Forgets(ExecutionCallback):  # type: ignore[misc]
    """Drops the times of finished tasks."""

    def on_execution_step(self, executor: Any) -> None:
        for operator in executor._topology:
            for blocks in operator.get_stats().values():
                blocks.clear()
