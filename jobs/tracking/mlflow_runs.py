"""Records carried into MLflow's runs: the one place that talks to MLflow.

Sending twice does no harm. A run is found by its tag, and of two that were created at the same time
the older one is used; parameters that are there stay; metrics keep their time and step, of which
MLflow stores one; a picture has its name; and the status is that of the latest record. Only the
client is used, so that no state of the process changes. It retries nothing: whoever calls it does.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from jobs.tracking.records import (
    Begun,
    Dataset,
    Ended,
    Metrics,
    Parcel,
    Picture,
    Record,
    Tags,
    Text,
)
from pipeline.storage.secrets import without_secrets
from pipeline.storage.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.exceptions import MlflowException

RUN_TAG: Final = "noiseloom.run"

_ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the address, with whatever is in it
    # Left alone, MLflow waits 120 s for an answer, and retries 7 times with growing pauses. A
    # retried request may have been carried out: the courier looks first, and then tries again.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "10",
}

# In one call, by MLflow's own limits
_PARAMS: Final = 100
_VALUES: Final = 1000

_LONGEST: Final = 500
_DIGEST: Final = 36


def be_quiet() -> None:
    """Before MLflow is imported: no telemetry, no chatter, seconds for a server."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for logger in ("mlflow", "alembic"):
        # It logs the traceback of what it raises.
        logging.getLogger(logger).setLevel(logging.CRITICAL)


@dataclass
class MlflowRuns:
    """The runs of one MLflow. `say` tells the user of a record that MLflow will never take."""

    uri: str
    store: Store
    say: Callable[[str], None]
    _client: MlflowClient | None = field(default=None, init=False)
    _ids: dict[tuple[str, str], str] = field(default_factory=dict, init=False)

    def run_id(self, experiment: str, run: str) -> str | None:
        """MLflow's name for a run, once something of it has been sent."""
        return self._ids.get((experiment, run))

    def deliver(self, parcel: Parcel) -> None:
        """Sends the records in order. Raises whatever MLflow's libraries raise."""
        from mlflow.exceptions import MlflowException

        for records in _calls(parcel.records):
            run_id = self._open(parcel, records[0])
            try:
                self._carry(run_id, records)
            except MlflowException as error:
                if not _never(error):
                    raise
                # The run may have been deleted by hand: then what follows is another one's.
                del self._ids[parcel.experiment, parcel.run]
                other = self._open(parcel, records[0])
                if other == run_id:
                    self.say(f"MLflow refuses {records[0].kind} of {parcel.run}: {reason(error)}")
                else:
                    self._carry(other, records)

    def _open(self, parcel: Parcel, record: Record) -> str:
        """The run with this tag, or a new one."""
        known = self.run_id(parcel.experiment, parcel.run)
        if known is not None:
            return known
        client, experiment = self._experiment(parcel.experiment)
        found = _search(client, experiment, parcel.run)
        if not found:
            begun = record if isinstance(record, Begun) else Begun(parcel.run, {})
            client.create_run(
                experiment, begun.time_ms, tags={RUN_TAG: parcel.run}, run_name=begun.title
            )
            found = _search(client, experiment, parcel.run)
        first, *twins = found
        for twin in twins:
            # Created by another process in the same moment, or by a server that hung in between
            if not twin.data.params and not twin.data.metrics:
                client.delete_run(twin.info.run_id)
        run_id = str(first.info.run_id)
        self._ids[parcel.experiment, parcel.run] = run_id
        return run_id

    def _experiment(self, name: str) -> tuple[MlflowClient, str]:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        with _one_at_a_time(self.uri):
            client = self._client = self._client or MlflowClient(tracking_uri=self.uri)
            known = client.get_experiment_by_name(name)
        if known is None:
            with suppress(MlflowException):  # created by another process in between
                client.create_experiment(name)
            known = client.get_experiment_by_name(name)
        if known is None:
            raise MlflowException(f"the experiment {name!r} cannot be created")
        return client, str(known.experiment_id)

    def _carry(self, run_id: str, records: Sequence[Record]) -> None:
        """Records of one kind; several only of metrics."""
        client = self._client
        assert client is not None, "opened before"
        match records[0]:
            case Begun() as begun:
                _begin(client, run_id, begun)
            case Ended(status=status, time_ms=time_ms):
                if time_ms >= (client.get_run(run_id).info.end_time or 0):
                    client.set_terminated(run_id, status, time_ms)
            case Dataset() as dataset:
                _log_dataset(client, run_id, dataset)
            case Text(name=name, text=text):
                _log_file(client, run_id, name, text.encode())
            case Picture(name=name, path=path):
                with suppress(FileNotFoundError):  # deleted by hand, or sent by another command
                    _log_file(client, run_id, name, self.store.read(path))
            case Tags(values=values):
                for name, value in values.items():
                    client.set_tag(run_id, name, value)
            case Metrics():
                _log_metrics(client, run_id, [r for r in records if isinstance(r, Metrics)])


def reason(error: BaseException) -> str:
    """One line of an error's text, without secrets."""
    lines = str(error).strip().splitlines()
    return without_secrets(lines[0] if lines else type(error).__name__)[:200]


def root_cause(error: BaseException) -> BaseException:
    """What MLflow and the libraries below it have wrapped: a refused connection, a locked file."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error


@contextmanager
def _one_at_a_time(uri: str) -> Iterator[None]:
    """While a database in a file is opened, which creates its tables: two processes that do so at
    the same moment break each other's. The lock is on the folder: there is no file to leave behind.
    """
    path = re.match(r"sqlite:///([^?]+)", uri)
    with ExitStack() as stack:
        if path is not None:
            folder = Path(path[1]).parent
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)  # and with it the lock
            with suppress(OSError):  # a network folder without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _search(client: MlflowClient, experiment: str, run: str) -> list[Run]:
    """The runs with this tag, the oldest first."""
    quote = '"' if "'" in run else "'"
    found = client.search_runs([experiment], f"tags.`{RUN_TAG}` = {quote}{run}{quote}")
    return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))


def _calls(records: Sequence[Record]) -> Iterator[list[Record]]:
    """The records one by one, but for neighbouring metrics, which go in one call."""
    call: list[Record] = []
    free = 0
    for record in records:
        size = len(record.values) if isinstance(record, Metrics) else _VALUES
        if call and size > free:
            yield call
            call, free = [], _VALUES
        elif not call:
            free = _VALUES
        call.append(record)
        free -= size
    if call:
        yield call


def _never(error: MlflowException) -> bool:
    """MLflow was reached, and would answer the same to the same record again."""
    return error.error_code in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")


def _begin(client: MlflowClient, run_id: str, begun: Begun) -> None:
    from mlflow.entities import Param

    there = client.get_run(run_id)
    new = [
        Param(name, value[:_LONGEST])
        for name, value in _named(begun.params).items()
        if name not in there.data.params
    ]
    for start in range(0, len(new), _PARAMS):
        client.log_batch(run_id, params=new[start : start + _PARAMS])
    if begun.time_ms >= (there.info.end_time or 0):
        client.update_run(run_id, status="RUNNING")


def _named(params: Mapping[str, str]) -> dict[str, str]:
    """With names that MLflow takes: a model may be called anything."""
    return {re.sub(r"[^\w\-. /:]", "_", name)[:250]: v for name, v in params.items()}


def _log_metrics(client: MlflowClient, run_id: str, records: Sequence[Metrics]) -> None:
    from mlflow.entities import Metric

    points = [
        Metric(name, value, record.time_ms, record.step)
        for record in records
        for name, value in record.values.items()
    ]
    client.log_batch(run_id, metrics=points)


def _log_file(client: MlflowClient, run_id: str, name: str, data: bytes) -> None:
    place = PurePosixPath(name)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / place.name
        file.write_bytes(data)
        client.log_artifact(run_id, str(file), str(place.parent) if place.parent.name else None)


def _log_dataset(client: MlflowClient, run_id: str, dataset: Dataset) -> None:
    from mlflow import entities

    used = entities.Dataset(
        name=Path(dataset.url.split(",")[0]).name[:200] or dataset.context,
        digest=dataset.digest[:_DIGEST],
        source_type=urlsplit(dataset.url).scheme or "local",  # as `mlflow.data` calls its sources
        source=json.dumps({"uri": dataset.url}),
    )
    tags = [entities.InputTag("mlflow.data.context", dataset.context)]
    client.log_inputs(run_id, [entities.DatasetInput(used, tags)])
