"""What Ray Data's executor asks of the operator that hands out chunks; Ray itself is not started.

A newer Ray in which the inner classes are others fails here, or in the runs of tests/jobs.
"""

from __future__ import annotations

import inspect
import pickle
from typing import Any, cast

import pyarrow as pa
import pytest
from ray.data import DataContext
from ray.data._internal.execution import streaming_executor, streaming_executor_state
from ray.data._internal.execution.interfaces import RefBundle
from ray.data._internal.execution.operators.map_operator import MapOperator
from ray.data._internal.logical.interfaces import LogicalOperator
from ray.data._internal.planner.planner import Planner

from pipeline.flow import source as flow_source
from pipeline.flow.source import CHUNK, chunk_of
from pipeline.flow.supply import Supply
from pipeline.source.plan import Chunk
from pipeline.source.shards import Shard

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
"""Ray's default settings are said to be deprecated as they are set."""

CHUNKS = [Chunk(Shard("s.tar", 1, "0"), number, (), f"c{number}") for number in range(3)]


class Bundle:
    """As much of a bundle as Ray's counters look at."""

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk

    def num_rows(self) -> int:
        return 1

    def size_bytes(self) -> int:
        return 100

    def __len__(self) -> int:
        return 1


class Ran:
    """As much of an operator as tells of its finished tasks."""

    def __init__(self) -> None:
        self._name = "MapBatches"
        self._output_blocks_stats = ["a block", "another"]

    def get_stats(self) -> dict[str, list[str]]:
        return cast(dict[str, list[str]], MapOperator.get_stats(cast(Any, self)))


def operator(ahead: int) -> tuple[Any, Supply[RefBundle]]:
    supply = Supply(CHUNKS, ahead, lambda chunk: cast(RefBundle, Bundle(chunk)))
    plan = flow_source._operator
    return plan(flow_source._Supplied(supply), [], DataContext.get_current()), supply


def test_ray_takes_as_many_as_may_be_under_way_and_waits_for_the_others() -> None:
    source, supply = operator(ahead=2)
    taken = []
    while source.has_next():
        taken.append(source.get_next().chunk.id)
    assert taken == ["c0", "c1"]
    assert not source.has_completed()  # the stages after it are not told that this was all
    supply.done("c1")
    assert source.get_next().chunk.id == "c2"
    assert source.has_completed()
    assert source.metrics.num_outputs_taken == 3
    assert source.num_outputs_total() == 3


def test_a_run_that_is_over_takes_no_more() -> None:
    source, _ = operator(ahead=2)
    source.mark_execution_finished()
    assert not source.has_next()
    assert source.has_completed()


def test_the_supply_is_planned_as_the_operator_that_asks_it() -> None:
    planner = Planner()
    supply = Supply(CHUNKS, 2, lambda chunk: cast(RefBundle, Bundle(chunk)))
    flow_source._known_to_ray()
    logical: LogicalOperator = flow_source._Supplied(supply)
    assert planner.get_plan_fn(logical) is flow_source._operator
    assert logical.estimated_num_outputs() == 3


def test_a_chunk_arrives_as_it_was_planned() -> None:
    block = pa.table({CHUNK: [pickle.dumps(CHUNKS[1])]})
    assert chunk_of(block) == CHUNKS[1]


def test_the_times_of_finished_tasks_are_dropped_where_ray_keeps_them() -> None:
    class Executor:
        def __init__(self, *operators: Ran) -> None:
            self._topology = dict.fromkeys(operators)

    ran = Ran()
    flow_source._Forgets().on_execution_step(Executor(ran))
    assert ran._output_blocks_stats == []
    assert "self._topology = build_streaming_topology" in inspect.getsource(streaming_executor)
    assert "while op.has_next():" in inspect.getsource(streaming_executor_state)
