"""A training in MLflow: parameters, losses, learning rate, validation per noise level, and a
picture at every checkpoint.

Guarded as a run's tracker is: a server that is away, or goes away in the middle, costs a line and
the rest of the record, never the training. A training that is continued goes on in the same MLflow
run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from jobs.tracking import Tracker, be_quiet, ended, log_metrics, open_run
from pipeline.secrets import without_secrets
from pipeline.training.config import TrainConfig

if TYPE_CHECKING:
    from jobs.train_worker import CheckpointReport
    from pipeline.training.session import StepReport

EVERY = 10
"""Steps between two logged losses (their mean): one call to the tracking server costs more than a
step.
"""


class TrainLog:
    """Sends to an MLflow run; does nothing where tracking is off."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._losses: list[float] = []

    def step(self, report: StepReport) -> None:
        """Called at every step."""
        self._losses.append(report.loss)
        if report.step % EVERY:
            return
        values = {
            "loss": sum(self._losses) / len(self._losses),
            "learning_rate": report.learning_rate,
            "gradient_norm": report.gradient_norm,
            "seconds_per_step": report.seconds,
        }
        self._losses.clear()
        self._metrics(values, report.step)

    def checkpoint(self, report: CheckpointReport) -> None:
        """Called at every checkpoint."""
        found = report.validation
        if found is not None:
            levels = {f"val/t{i}": value for i, value in enumerate(found.levels)}
            self._metrics({"validation_loss": found.loss, **levels}, report.step)
        self._tracker.picture(report.picture, f"samples/{report.step:06d}.png")

    def _metrics(self, values: dict[str, float], step: int) -> None:
        self._tracker.send(lambda client, run_id: log_metrics(client, run_id, values, step))


@contextmanager
def train_log(
    config: TrainConfig, kind: str, config_path: str | Path, console: Console
) -> Iterator[TrainLog]:
    """The log of a training; its MLflow run ends with the block, however that ends."""
    tracker = Tracker(console, what="training")
    if config.tracking.uri is not None:
        be_quiet()
        _begin(tracker, config, kind, Path(config_path))
    with ended(tracker):
        yield TrainLog(tracker)


def _begin(tracker: Tracker, config: TrainConfig, kind: str, config_path: Path) -> None:
    """Opens the run of this configuration, and says what it is."""
    name = f"{kind}-{Path(config.out).parent.name}"
    with tracker.away_is_no_error():
        from mlflow import MlflowClient
        from mlflow.entities import Param

        client = MlflowClient(tracking_uri=config.tracking.uri)
        run_id = open_run(client, config.tracking.experiment, f"{name}-{config.digest()}", name)
        tracker.client, tracker.run_id = client, run_id
        known = client.get_run(run_id).data.params
        values = config.model_dump(mode="json")
        params = [
            Param(k, without_secrets(str(v))[:500]) for k, v in values.items() if k not in known
        ]
        client.log_batch(run_id, params=params)
        client.log_text(run_id, without_secrets(config_path.read_text()), config_path.name)
