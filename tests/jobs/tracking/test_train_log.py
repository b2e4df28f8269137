"""A training's record in MLflow: what stands there."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from jobs.tracking.train_log import TrainLog, train_log
from jobs.training.worker import CheckpointReport
from pipeline.training.config import TrainConfig
from pipeline.training.session import StepReport
from pipeline.training.state import Validation
from tests.jobs.mlflow_look import new_database, only_run, png
from tests.pipeline.training.test_training import config

# MLflow's own tables, under an SQLAlchemy that is newer than they are
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.yaml").write_text("data: {shards: s3://me:secret@lab/x.tar}\n")
    uri = new_database(tmp_path / "mlflow.db")
    return config(tracking={"uri": uri, "experiment": "tests"}, out="cells/denoiser")


def losses(settings: TrainConfig) -> list[tuple[int, float]]:
    client, run = only_run(settings.tracking)
    return [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, "loss")]


def report(log: TrainLog, first: int, last: int) -> None:
    for step in range(first, last + 1):
        log.step(StepReport(step, float(step), 1e-3, 1.0, 0.1))


def test_losses_and_the_error_per_noise_level_are_there_and_a_continued_training_is_one_run(
    settings: TrainConfig,
) -> None:
    out = Console(file=io.StringIO())
    with pytest.raises(KeyError), train_log(settings, "denoiser", "train.yaml", out) as log:
        report(log, 1, 10)
        levels = tuple(float(i) for i in range(8))
        log.checkpoint(CheckpointReport(10, Validation(0.5, levels), png()))
        raise KeyError
    with train_log(settings, "denoiser", "train.yaml", out) as log:
        report(log, 11, 20)
    client, run = only_run(settings.tracking)
    assert run.info.status == "FINISHED"
    assert losses(settings) == [(10, 5.5), (20, 15.5)]
    assert [run.data.metrics[f"val/t{i}"] for i in range(8)] == list(range(8))
    assert run.data.metrics["validation_loss"] == 0.5
    assert [f.path for f in client.list_artifacts(run.info.run_id, "samples")] == [
        "samples/000010.png"
    ]
    assert (
        "secret"
        not in Path(run.info.artifact_uri.removeprefix("file://"), "train.yaml").read_text()
    )
