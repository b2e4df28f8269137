"""A run in MLflow: what stands there, what never does, and that MLflow holds nothing up."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from jobs.live import Pace, Tally
from jobs.plan import RunPlan
from jobs.tracking import RUN_TAG, look_command, tracked
from pipeline.secrets import without_secrets
from schemas.recipe import Tracking
from tests.jobs.sinks import planned_run

# MLflow's own tables, under an SQLAlchemy that is newer than they are
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

VERSIONS = {"ray": "2.60.0"}


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPlan:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return planned_run(tmp_path)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("https://me:pw@host/x", "https://host/x"),
        ("postgresql://me:p%40w@host:5432/db", "postgresql://host:5432/db"),
        ("https://token@host", "https://host"),
        ("s3://lab/a.tar?X-Amz-Signature=abc, s3://b/c", "s3://lab/a.tar, s3://b/c"),
        ('uri: "az://x/y?sig=abc"\nnext: 1', 'uri: "az://x/y"\nnext: 1'),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("write to me@example.org", "write to me@example.org"),
    ],
)
def test_secrets_are_cut_out_of_urls(text: str, safe: str) -> None:
    assert without_secrets(text) == safe


def test_a_run_is_described_and_a_resumed_one_goes_on_in_the_same_place(
    planned: RunPlan, tmp_path: Path
) -> None:
    tracking = Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="cells")
    out = io.StringIO()
    with pytest.raises(KeyError), tracked(tracking, planned, VERSIONS, Console(file=out)) as first:
        first.progress(Tally(4, 14, committed=1, kept=5, failed=1), Pace(6, 2.0))
        raise KeyError
    with tracked(tracking, planned, VERSIONS, Console(file=out)) as second:
        second.progress(Tally(4, 14, committed=4, kept=12, failed=2), Pace(14, 2.0))
        second.summary({"attempted": 14})
        second.picture(_png(), "contact_sheet.png")
        second.output("out/shards", "abc")
    assert out.getvalue() == ""
    assert first.run_id == second.run_id
    assert second.client is not None
    assert second.run_id is not None

    run = second.client.get_run(second.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags[RUN_TAG] == planned.run
    assert run.data.params["recipe"] == planned.digest
    assert run.data.params["version.ray"] == "2.60.0"
    assert run.data.metrics["kept"] == 12
    assert run.data.metrics["attempted"] == 14
    history = second.client.get_metric_history(second.run_id, "images_per_second")
    assert [(point.step, point.value) for point in history] == [(1, 3.0), (4, 7.0)]
    datasets = {
        used.tags[0].value: json.loads(used.dataset.source)["uri"]
        for used in run.inputs.dataset_inputs
    }
    assert datasets == {"source": f"{tmp_path}/train-*.tar", "output": "out/shards"}
    files = {file.path for file in second.client.list_artifacts(second.run_id)}
    assert files == {"recipe.yaml", "contact_sheet.png"}


def test_where_mlflow_is_away_the_run_goes_on_and_says_so_once(planned: RunPlan) -> None:
    out = io.StringIO()
    tracking = Tracking(uri="http://me:secret@127.0.0.1:9")
    with tracked(tracking, planned, VERSIONS, Console(file=out, width=500)) as tracker:
        tracker.progress(Tally(4, 14), Pace(0, 0.0))
        tracker.picture(_png(), "sheet.png")
    assert out.getvalue().count("MLflow is away") == 1
    assert len(out.getvalue().splitlines()) == 1
    assert "secret" not in out.getvalue()


def test_a_server_that_goes_away_under_way_is_said_once(planned: RunPlan, tmp_path: Path) -> None:
    out = io.StringIO()
    tracking = Tracking(uri=f"sqlite:///{tmp_path}/other.db")
    with tracked(tracking, planned, VERSIONS, Console(file=out, width=500)) as tracker:
        assert tracker.client is not None
        assert tracker.run_id is not None
        tracker.client.delete_run(tracker.run_id)
        tracker.summary({"kept": 1})
        tracker.summary({"kept": 2})
    assert out.getvalue().count("MLflow is away") == 1


def test_a_run_that_is_not_tracked_imports_no_mlflow(planned: RunPlan) -> None:
    with tracked(Tracking(uri=None), planned, VERSIONS, Console(file=io.StringIO())) as tracker:
        tracker.progress(Tally(4, 14), Pace(0, 0.0))
        tracker.output("x", "y")
    assert tracker.client is None


def test_where_to_look() -> None:
    assert look_command(Tracking()) == "mlflow ui --backend-store-uri sqlite:///mlflow.db"
    assert look_command(Tracking(uri="http://server:5000")) is None
    assert look_command(Tracking(uri=None)) is None


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "png")
    return buffer.getvalue()
