"""A run in MLflow: what it was made of, how it goes, what it looks like.

    parameters   digest, seed, copies, models, versions     inputs    source and output as datasets
    metrics      counts and images/s, by chunks committed   artifacts recipe.yaml, contact sheet

MLflow never holds a run up: requests give up within seconds, and where the server is away the run
goes on and says so once. Secrets do not get there: user names, passwords and signed queries are cut
out of every URL. Only the client is used, so that no state of the process changes.
"""

from __future__ import annotations

import io
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from jobs.live import Pace, Tally
from jobs.plan import RunPlan
from pipeline.secrets import without_secrets
from schemas.recipe import Tracking, digest_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUN_TAG: Final = "noiseloom.run"

_ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@dataclass
class Tracker:
    """One MLflow run, or nothing where tracking is off or MLflow is away."""

    console: Console
    client: MlflowClient | None = None
    run_id: str | None = None
    what: str = "run"
    away: str | None = field(default=None, init=False)

    def progress(self, tally: Tally, pace: Pace) -> None:
        """Counts and throughput, at this number of committed chunks."""
        values = {
            "kept": tally.kept,
            "rejected": tally.rejected,
            "failed": tally.failed,
            "images_per_second": pace.rate,
        }
        self.send(lambda client, run_id: log_metrics(client, run_id, values, tally.committed))

    def summary(self, values: Mapping[str, float]) -> None:
        """Figures of the whole run."""
        self.send(lambda client, run_id: log_metrics(client, run_id, values, 0))

    def picture(self, png: bytes, name: str) -> None:
        """A picture among the run's artifacts."""

        def send(client: MlflowClient, run_id: str) -> None:
            from PIL import Image

            client.log_image(run_id, Image.open(io.BytesIO(png)), name)

        self.send(send)

    def output(self, url: str, digest: str) -> None:
        """The published index as a dataset."""
        self.send(lambda client, run_id: _log_dataset(client, run_id, url, digest, "output"))

    def end(self, status: str) -> None:
        """FINISHED, FAILED or KILLED, as MLflow calls it."""
        self.send(lambda client, run_id: client.set_terminated(run_id, status))

    def send(self, send: Callable[[MlflowClient, str], None]) -> None:
        """Sends something, unless tracking is off or MLflow has gone away."""
        if self.client is None or self.run_id is None or self.away is not None:
            return
        with self.away_is_no_error():
            send(self.client, self.run_id)

    @contextmanager
    def away_is_no_error(self) -> Iterator[None]:
        """MLflow's errors inside the block are said once, and end nothing."""
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, RequestException, SQLAlchemyError, OSError) as error:
            reason = str(error).strip().splitlines()
            self.away = without_secrets(reason[0] if reason else type(error).__name__)[:200]
            self.console.print(f"MLflow is away, the {self.what} goes on without it: {self.away}")

    def begin(self, tracking: Tracking, planned: RunPlan, versions: Mapping[str, str]) -> None:
        """Opens the run that this one resumes, or a new one, and says what it is made of."""
        with self.away_is_no_error():
            from mlflow import MlflowClient

            self.client = MlflowClient(tracking_uri=tracking.uri)
            self.run_id = open_run(self.client, tracking.experiment, planned.run)
            _describe(self.client, self.run_id, planned, versions)


@contextmanager
def tracked(
    tracking: Tracking, planned: RunPlan, versions: Mapping[str, str], console: Console
) -> Iterator[Tracker]:
    """The run's tracker; the MLflow run ends with the block, however that ends."""
    tracker = Tracker(console)
    if tracking.uri is not None:
        be_quiet()
        tracker.begin(tracking, planned, versions)
    with ended(tracker):
        yield tracker


@contextmanager
def ended(tracker: Tracker) -> Iterator[None]:
    """The MLflow run ends with the block, as the block does."""
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracker.end(status)


def look_command(tracking: Tracking) -> str | None:
    """How to look at the runs; None where a server shows them, or there are none."""
    uri = tracking.uri
    if uri is None or uri.startswith(("http://", "https://")):
        return None
    return f"mlflow ui --backend-store-uri {without_secrets(uri)}"


def be_quiet() -> None:
    """Before MLflow is imported: no telemetry, no chatter, seconds for a server."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.ERROR)


def open_run(client: MlflowClient, experiment: str, name: str, title: str | None = None) -> str:
    """The MLflow run of this name, which is opened again, or a new one."""
    known = client.get_experiment_by_name(experiment)
    experiment_id = known.experiment_id if known else client.create_experiment(experiment)
    query = f"tags.`{RUN_TAG}` = '{name}'"
    found = client.search_runs([experiment_id], query, max_results=1)
    if found:
        run_id = str(found[0].info.run_id)
        client.update_run(run_id, status="RUNNING")
        return run_id
    return str(
        client.create_run(experiment_id, tags={RUN_TAG: name}, run_name=title or name).info.run_id
    )


def _describe(
    client: MlflowClient, run_id: str, planned: RunPlan, versions: Mapping[str, str]
) -> None:
    from mlflow.entities import Param

    recipe = planned.recipe
    values: dict[str, Any] = {
        "recipe": planned.digest,
        "seed": recipe.seed,
        "copies": recipe.copies,
        "chunk_size": recipe.chunk_size,
        "ops": " > ".join(op.kind for op in recipe.ops),
        "sink": without_secrets(recipe.sink),
        **{f"model.{name}": digest for name, digest in planned.models.items()},
        **{f"version.{name}": version for name, version in versions.items()},
    }
    known = client.get_run(run_id).data.params
    params = [Param(k, str(v)[:500]) for k, v in values.items() if k not in known]
    client.log_batch(run_id, params=params)
    client.log_text(run_id, without_secrets(planned.file.read_text()), "recipe.yaml")
    contents = digest_of([shard.content for shard in planned.shards])
    _log_dataset(client, run_id, ", ".join(recipe.source.shards), contents, "source")


def log_metrics(client: MlflowClient, run_id: str, values: Mapping[str, float], step: int) -> None:
    """Some metrics at one step, in one call."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(k, float(v), now, step) for k, v in values.items()])


def _log_dataset(client: MlflowClient, run_id: str, url: str, digest: str, context: str) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = {"uri": without_secrets(url)}
    dataset = Dataset(
        name=Path(without_secrets(url).split(",")[0]).name[:200] or context,
        digest=digest,
        source_type="webdataset",
        source=json.dumps(source),
    )
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])
