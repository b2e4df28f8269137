"""A training in MLflow: parameters, losses, learning rate, validation per noise level, and a
picture at every checkpoint.

Goes the way of a run's records: MLflow never holds a training up or ends it, and what it does not
take waits in `<out>/.training/tracking` for the next start. A training that is continued goes on in
the same MLflow run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from jobs.tracking.run import Tracker, ended, open_tracker
from pipeline.storage.store import Store
from pipeline.training.config import TrainConfig

if TYPE_CHECKING:
    from jobs.training.worker import CheckpointReport
    from pipeline.training.session import StepReport

EVERY: Final = 10
"""Steps between two logged losses, which are means."""


class TrainLog:
    """Records a training; does nothing where tracking is off."""

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
        self._tracker.metrics(values, report.step)

    def checkpoint(self, report: CheckpointReport) -> None:
        """Called at every checkpoint."""
        found = report.validation
        if found is not None:
            levels = {f"val/t{i}": value for i, value in enumerate(found.levels)}
            self._tracker.metrics({"validation_loss": found.loss, **levels}, report.step)
        self._tracker.new_picture(f"samples/{report.step:06d}.png", report.picture)


@contextmanager
def train_log(
    config: TrainConfig, kind: str, config_path: str | Path, console: Console
) -> Iterator[TrainLog]:
    """The log of a training; its MLflow run ends with the block, however that ends."""
    name = f"{kind}-{Path(config.out).parent.name}"
    store = Store(str(Path(config.out, ".training")))
    run = f"{name}-{config.digest()}"
    tracker = open_tracker(config.tracking, run, store, console, "training")
    if tracker.courier is not None:
        # Neither where MLflow is, nor anything else of what does not shape the training
        params = config.model_dump(mode="json", exclude={"tracking"})
        file = Path(config_path)
        values = {key: str(value) for key, value in params.items()}
        tracker.begin(name, values, file.name, file.read_text())
    with ended(tracker):
        yield TrainLog(tracker)
