"""What can be said of the Ray Data graph without starting Ray; the rest is in tests/jobs."""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
from ray.data import Dataset
from ray.exceptions import (
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from pipeline.flow.carried import CarriedError
from pipeline.flow.errors import unwrapped
from pipeline.flow.graph import _staged
from pipeline.flow.pools import Width
from pipeline.flow.spec import FlowSpec
from pipeline.stages import Stage
from schemas.errors import FullError, NoiseloomError, RunError, SampleError, SinkError
from schemas.pools import PoolSpec


def task_error(cause: Exception) -> RayTaskError:
    return RayTaskError("f", "Traceback: ...", cause)


@pytest.mark.parametrize(
    "error", [SinkError("two\nlines"), FullError("the sink is full"), SampleError("slug", "detail")]
)
def test_an_error_with_a_message_arrives_as_it_was_raised(error: NoiseloomError) -> None:
    sent = CarriedError(error)
    sent.args = ("Failed to map after 1/1 attempts; configure ray.data",)  # as Ray does
    wrapped = RuntimeError("in between")
    wrapped.__cause__ = task_error(pickle.loads(pickle.dumps(sent)))
    arrived = unwrapped(task_error(wrapped))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)


def test_an_unforeseen_error_keeps_its_traceback() -> None:
    arrived = unwrapped(task_error(KeyError("oops")))
    assert isinstance(arrived, RunError)
    assert "Traceback: ..." in str(arrived)


@pytest.mark.parametrize(
    ("error", "kind", "advice"),
    [
        (OutOfDiskError("The object cannot be created"), FullError, "make room"),
        (ObjectStoreFullError("Failed to put object"), FullError, "make room"),
        (OutOfMemoryError("Task was killed"), RunError, "take a smaller chunk_size"),
        (WorkerCrashedError(), RunError, "take a smaller chunk_size"),
    ],
)
def test_what_ray_reports_itself_is_said_with_what_to_do(
    error: RayError, kind: type[NoiseloomError], advice: str
) -> None:
    for arrived in (unwrapped(error), unwrapped(task_error(error))):
        assert type(arrived) is kind
        assert advice in str(arrived)


def test_what_a_worker_needs_survives_the_way_there() -> None:
    ops = [{"kind": "classic", "transforms": [{"Blur": {}}]}]
    text = json.dumps({"source": {"shards": "a.tar"}, "sink": "out", "ops": ops})
    spec = pickle.loads(pickle.dumps(FlowSpec("run", "digest", text, "out", "session", 8)))
    assert spec.recipe.ops[0].kind == "classic"
    assert spec.recipe is spec.recipe


class Unread:
    """A dataset of which only the plan is wanted: no Ray is up."""

    told: Mapping[str, Any]

    def map_batches_internal(self, fn: object, **told: Any) -> Unread:
        inspect.signature(Dataset.map_batches_internal).bind(self, fn, **told)
        self.told = told
        return self


def test_a_pool_asks_ray_for_all_that_its_stage_says_and_for_whole_blocks() -> None:
    pool = PoolSpec(
        gpus=0.5, cpus=2, memory="2GiB", accelerator="L4", labels={"zone": "a"}, pool=(1, 4)
    )
    spec = FlowSpec("run", "digest", "{}", "out", "session", 8)
    stage = Stage(range(1), True, pool, "resources")
    told = _staged(Unread(), stage, Width(1, 4, 3), spec).told
    asked = {name: told[name] for name in ("num_gpus", "memory", "accelerator_type")}
    assert asked == {"num_gpus": 0.5, "memory": 2 * 2**30, "accelerator_type": "L4"}
    assert told["label_selector"] == {"zone": "a"}
    assert told["batch_size"] is None
    sizes = told["compute"]
    assert (sizes.min_size, sizes.max_size, sizes.initial_size) == (1, 4, 3)
