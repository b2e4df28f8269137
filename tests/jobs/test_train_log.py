"""A training's record in MLflow: what stands there, and that MLflow never ends a training."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from PIL import Image
from rich.console import Console

from jobs.train_log import TrainLog, train_log
from jobs.train_worker import CheckpointReport
from pipeline.training.config import TrainConfig
from pipeline.training.session import StepReport
from pipeline.training.state import Validation
from tests.pipeline.training.test_training import config

# MLflow's own tables, under an SQLAlchemy that is newer than they are
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.yaml").write_text("data: {shards: s3://me:secret@lab/x.tar}\n")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    return config(tracking={"uri": uri, "experiment": "tests"}, out="cells/denoiser")


def report(log: TrainLog, first: int, last: int) -> None:
    for step in range(first, last + 1):
        log.step(StepReport(step, float(step), 1e-3, 1.0, 0.1))


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


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
    client = MlflowClient(settings.tracking.uri)
    experiment = client.get_experiment_by_name("tests")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    points = client.get_metric_history(run.info.run_id, "loss")
    assert [(p.step, p.value) for p in points] == [(10, 5.5), (20, 15.5)]
    assert [run.data.metrics[f"val/t{i}"] for i in range(8)] == list(range(8))
    assert run.data.metrics["validation_loss"] == 0.5
    assert [f.path for f in client.list_artifacts(run.info.run_id, "samples")] == [
        "samples/000010.png"
    ]
    assert (
        "secret"
        not in Path(run.info.artifact_uri.removeprefix("file://"), "train.yaml").read_text()
    )


def test_a_server_that_goes_away_in_the_middle_costs_a_line_and_not_the_training(
    settings: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    calls = []

    def gone(*_: object, **__: object) -> None:
        calls.append(1)
        raise MlflowException("connection refused")

    with train_log(settings, "denoiser", "train.yaml", Console(file=said, width=200)) as log:
        report(log, 1, 10)
        monkeypatch.setattr(MlflowClient, "log_batch", gone)
        monkeypatch.setattr(MlflowClient, "log_image", gone)
        report(log, 11, 40)
        log.checkpoint(CheckpointReport(40, None, png()))
    assert said.getvalue().count("MLflow is away, the training goes on without it") == 1
    assert len(calls) == 1, "nothing waits for it again"


def test_a_server_that_is_away_from_the_start_costs_a_line(
    settings: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = io.StringIO()
    away = settings.model_copy(
        update={"tracking": settings.tracking.model_copy(update={"uri": "http://127.0.0.1:9"})}
    )
    with train_log(away, "denoiser", "train.yaml", Console(file=said, width=200)) as log:
        report(log, 1, 10)
    assert said.getvalue().count("MLflow is away") == 1
