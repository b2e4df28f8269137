"""What MLflow holds, seen through its own client, and what tests of tracking share."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from schemas.recipe import Tracking


@lru_cache(maxsize=1)
def _empty_database() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
        return Path(folder, "mlflow.db").read_bytes()


def new_database(path: Path) -> str:
    """The URI of an empty MLflow in a file; a copy, for MLflow takes seconds to create one."""
    path.write_bytes(_empty_database())
    return f"sqlite:///{path}"


def only_run(tracking: Tracking) -> tuple[MlflowClient, Run]:
    """The one run of the experiment, and a client to ask for more."""
    client = MlflowClient(tracking.uri)
    experiment = client.get_experiment_by_name(tracking.experiment)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return client, run


def png() -> bytes:
    """A small picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "png")
    return buffer.getvalue()


def until(condition: Callable[[], bool]) -> None:
    """Waits for what another process or thread does; far longer than that takes."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
