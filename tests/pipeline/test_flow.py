"""What can be said of the Ray Data graph without starting Ray; the rest is in tests/jobs."""

from __future__ import annotations

import json
import pickle

import pytest
from ray.exceptions import (
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from pipeline.carried import CarriedError
from pipeline.flow_errors import unwrapped
from pipeline.flow_spec import FlowSpec
from schemas.errors import FullError, NoiseloomError, RunError, SampleError, SinkError


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
