"""A training in MLflow: parameters, losses, learning rate, and a picture at every checkpoint."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from jobs.tracking import be_quiet
from pipeline.training.config import TrainConfig

if TYPE_CHECKING:
    from jobs.train_worker import CheckpointReport, StepReport

EVERY = 10
"""Steps between two logged losses (their mean): one call to the tracking server costs more than a
step.
"""


class TrainLog:
    """Sends to the active MLflow run; does nothing where tracking is off."""

    def __init__(self, active: bool) -> None:
        self._active = active
        self._losses: list[float] = []

    def step(self, report: StepReport) -> None:
        """Called at every step."""
        self._losses.append(report.loss)
        if not self._active or report.step % EVERY:
            return
        import mlflow

        values = {
            "loss": sum(self._losses) / len(self._losses),
            "learning_rate": report.learning_rate,
            "gradient_norm": report.gradient_norm,
            "seconds_per_step": report.seconds,
        }
        self._losses.clear()
        mlflow.log_metrics(values, step=report.step)

    def checkpoint(self, report: CheckpointReport) -> None:
        """Called at every checkpoint."""
        if not self._active:
            return
        import mlflow
        from PIL import Image

        if report.validation_loss is not None:
            mlflow.log_metric("validation_loss", report.validation_loss, step=report.step)
        mlflow.log_image(Image.open(io.BytesIO(report.picture)), f"samples/{report.step:06d}.png")


@contextmanager
def train_log(
    config: TrainConfig, kind: str, config_path: str | Path, console: Console
) -> Iterator[TrainLog]:
    """A run in MLflow for the block; a server that is away costs a line, not the training."""
    if config.tracking.uri is None:
        yield TrainLog(active=False)
        return
    be_quiet()
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        mlflow.set_tracking_uri(config.tracking.uri)
        mlflow.set_experiment(config.tracking.experiment)
        run = mlflow.start_run(run_name=f"{kind}-{Path(config.out).parent.name}")
        mlflow.log_params({k: str(v)[:500] for k, v in config.model_dump(mode="json").items()})
        mlflow.log_artifact(str(config_path))
    except MlflowException as error:
        console.print(
            "[yellow]MLflow is away, the training goes on without it[/]: "
            f"{str(error).splitlines()[0]}"
        )
        yield TrainLog(active=False)
        return
    with run:
        yield TrainLog(active=True)
