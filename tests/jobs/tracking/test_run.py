"""A run in MLflow: what stands there, what never does, and that MLflow holds nothing up."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from rich.console import Console

from jobs.run.augment import augment
from jobs.run.live import Pace, Tally
from jobs.run.plan import RunPlan
from jobs.tracking.mlflow_runs import RUN_TAG, MlflowRuns
from jobs.tracking.outbox import Outbox
from jobs.tracking.records import Begun, Dataset, Ended, Metrics, Parcel, target_of
from jobs.tracking.run import deliver_waiting, look_command, tracked
from pipeline.storage.store import Store
from schemas.recipe import Tracking
from tests.jobs.mlflow_look import new_database, only_run, png, until
from tests.jobs.sinks import finish, planned_run, weave

# MLflow's own tables, under an SQLAlchemy that is newer than they are
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

VERSIONS = {"ray": "2.60.0"}


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPlan:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return planned_run(tmp_path)


def test_a_run_is_described_and_a_resumed_one_goes_on_in_the_same_place(
    planned: RunPlan, tmp_path: Path
) -> None:
    tracking = Tracking(uri=new_database(tmp_path / "mlflow.db"), experiment="cells")
    out = io.StringIO()
    planned.store.create("runs/sheet.png", png())
    with pytest.raises(KeyError), tracked(tracking, planned, VERSIONS, Console(file=out)) as first:
        first.progress(Tally(4, 14, committed=1, kept=5, failed=1), Pace(6, 2.0))
        raise KeyError
    with tracked(tracking, planned, VERSIONS, Console(file=out)) as second:
        second.progress(Tally(4, 14, committed=4, kept=12, failed=2), Pace(14, 2.0))
        second.summary({"attempted": 14})
        second.picture("contact_sheet.png", "runs/sheet.png")
        second.output("out/index/cells.parquet", "ab" * 32)
    assert out.getvalue() == ""
    assert first.run_id == second.run_id
    assert planned.store.list("tracking") == []

    client, run = only_run(tracking)
    assert run.info.run_id == second.run_id
    assert run.info.status == "FINISHED"
    assert run.data.tags[RUN_TAG] == planned.run
    assert run.data.params["recipe"] == planned.digest
    assert run.data.params["version.ray"] == "2.60.0"
    assert run.data.metrics["kept"] == 12
    assert run.data.metrics["attempted"] == 14
    history = client.get_metric_history(run.info.run_id, "images_per_second")
    assert [(point.step, point.value) for point in history] == [(1, 3.0), (4, 7.0)]
    datasets = {
        used.tags[0].value: json.loads(used.dataset.source)["uri"]
        for used in run.inputs.dataset_inputs
    }
    output = "out/index/cells.parquet"
    assert datasets == {"source": f"{tmp_path}/train-*.tar", "output": output}
    (used,) = (u.dataset for u in run.inputs.dataset_inputs if u.tags[0].value == "output")
    assert (used.name, used.digest) == ("cells.parquet", "ab" * 18)
    assert mlflow.data.get_source(used).to_dict() == {"uri": output}
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"recipe.yaml", "contact_sheet.png"}


def test_a_run_that_was_deleted_by_hand_goes_on_in_a_new_one(
    planned: RunPlan, tmp_path: Path
) -> None:
    tracking = Tracking(uri=new_database(tmp_path / "mlflow.db"))
    out = io.StringIO()
    with tracked(tracking, planned, VERSIONS, Console(file=out)) as tracker:
        until(lambda: tracker.run_id is not None)
        MlflowClient(tracking.uri).delete_run(tracker.run_id)
        tracker.summary({"kept": 1})
    _, run = only_run(tracking)
    assert (run.data.metrics, run.info.status) == ({"kept": 1}, "FINISHED")
    assert out.getvalue() == ""


def test_what_mlflow_will_never_take_is_said_and_does_not_keep_the_rest_back(
    planned: RunPlan, tmp_path: Path
) -> None:
    tracking = Tracking(uri=new_database(tmp_path / "mlflow.db"))
    out = io.StringIO()
    with tracked(tracking, planned, VERSIONS, Console(file=out, width=500)) as tracker:
        tracker.summary({"not a <name>": 1})
        tracker.output("out/shards", "abc")
        tracker.summary({"kept": 2})
    _, run = only_run(tracking)
    assert run.data.metrics == {"kept": 2}
    assert out.getvalue().count("MLflow refuses metrics") == 1


def test_records_that_waited_are_sent_by_the_next_command_even_where_it_has_nothing_to_do(
    planned: RunPlan, tmp_path: Path
) -> None:
    """The first run cannot be recorded: there is a file where the folder of the database is."""
    tracking = Tracking(uri=f"sqlite:///{tmp_path}/late/mlflow.db")
    (tmp_path / "late").touch()
    out = io.StringIO()
    planned.store.create("runs/sheet.png", png())
    with tracked(tracking, planned, VERSIONS, Console(file=out, width=500)) as tracker:
        tracker.summary({"loss": float("nan"), "kept": 1})
        tracker.picture("contact_sheet.png", "runs/sheet.png")
        tracker.new_picture("samples/1.png", png())
    away, waiting = out.getvalue().splitlines()
    assert "MLflow is away, the run goes on without it" in away
    assert "MLflow: 7 records waiting in" in waiting

    (tmp_path / "late").unlink()
    (tmp_path / "late").mkdir()
    new_database(tmp_path / "late/mlflow.db")
    elsewhere = Tracking(uri=f"sqlite:///{tmp_path}/elsewhere.db")
    deliver_waiting(elsewhere, "another", planned.store, Console(file=out))
    assert not (tmp_path / "elsewhere.db").exists()
    deliver_waiting(tracking, "another", planned.store, Console(file=out, width=500))
    assert out.getvalue().splitlines()[2:] == ["MLflow: 7 records that had waited sent"]
    assert planned.store.list("tracking") == []
    client, run = only_run(tracking)
    assert run.info.status == "FINISHED"
    assert run.data.params["recipe"] == planned.digest
    assert math.isnan(run.data.metrics["loss"])
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "recipe.yaml",
        "contact_sheet.png",
        "samples",
    }


def test_records_that_wait_are_sent_once_and_the_last_status_stays(
    planned: RunPlan, tmp_path: Path
) -> None:
    """A parcel that was sent, but not deleted before a kill, is sent again later."""
    tracking = Tracking(uri=new_database(tmp_path / "mlflow.db"))
    records = (
        Begun("x", {"a": "1"}, 1000),
        Metrics({"kept": 1.0}, 1, 1001),
        Metrics({"kept": 2.0}, 2, 1002),
        Dataset("s3://lab/x.tar", "abc", "source"),
        Ended("FAILED", 1003),
    )
    outbox = Outbox(planned.store, target_of(tracking.uri or ""), print)
    seen = []
    for _ in range(2):
        outbox.keep(Parcel(tracking.experiment, planned.run, records))
        deliver_waiting(tracking, planned.run, planned.store, Console(file=io.StringIO()))
        client, run = only_run(tracking)
        history = client.get_metric_history(run.info.run_id, "kept")
        assert [(p.timestamp, p.step, p.value) for p in history] == [(1001, 1, 1), (1002, 2, 2)]
        assert len(run.inputs.dataset_inputs) == 1
        seen.append((run.info.start_time, run.info.status))
        client.set_terminated(run.info.run_id, "FINISHED", 2000)
    assert seen == [(1000, "FAILED"), (1000, "FINISHED")]


def test_a_finished_run_that_is_started_again_sends_what_waits(
    planned: RunPlan, tmp_path: Path
) -> None:
    weave(planned)
    finish(planned)
    uri = new_database(tmp_path / "mlflow.db")
    text = planned.file.read_text()
    planned.file.write_text(text.replace("{uri: null}", f"{{uri: '{uri}'}}"))
    outbox = Outbox(planned.store, target_of(uri), print)
    outbox.keep(Parcel("noiseloom", planned.run, (Begun("x", {}), Ended("FINISHED"))))
    outbox.keep(Parcel("noiseloom", "another", (Begun("x", {}), Metrics({"kept": 1}, 1))))
    out = io.StringIO()
    augment(planned.file, Console(file=out, width=500))
    nothing, sent = out.getvalue().splitlines()
    assert "nothing to do" in nothing
    assert sent == "MLflow: 4 records that had waited sent"
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("noiseloom")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.data.tags[RUN_TAG] for run in runs} == {planned.run, "another"}


def test_records_by_the_thousand_go_in_calls_that_mlflow_takes(tmp_path: Path) -> None:
    tracking = Tracking(uri=new_database(tmp_path / "mlflow.db"))
    out = io.StringIO()
    deliver = MlflowRuns(tracking.uri or "", Store(str(tmp_path)), out.write)
    records = tuple(Metrics({f"m{i}": 1.0 for i in range(7)}, step) for step in range(300))
    params = {f"p{i}": "x" * 9999 for i in range(150)} | {"model.my <model>!": "y"}
    deliver.deliver(Parcel(tracking.experiment, "x", (Begun("x", params), *records)))
    client, run = only_run(tracking)
    assert len(client.get_metric_history(run.info.run_id, "m6")) == 300
    assert len(run.data.params) == 151
    assert out.getvalue() == ""


def test_a_sink_that_takes_no_records_is_said_once_and_costs_the_records_only(
    planned: RunPlan,
) -> None:
    planned.store.create("tracking", b"in the way")
    out = io.StringIO()
    tracking = Tracking(uri="http://me:secret@127.0.0.1:9")
    with tracked(tracking, planned, VERSIONS, Console(file=out, width=500)) as tracker:
        tracker.new_picture("x.png", png())
        tracker.progress(Tally(4, 14), Pace(0, 0.0))
    said = sorted(line.split(":")[0] for line in out.getvalue().splitlines())
    place = planned.store.at("tracking")
    assert said == sorted([place, "MLflow is away, the run goes on without it", "MLflow"])
    assert "MLflow: 5 records lost" in out.getvalue()
    assert "secret" not in out.getvalue()


def test_no_secret_is_in_what_is_sent_or_kept(
    planned: RunPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "planted-in-env")
    text = planned.file.read_text()
    planned.file.write_text(
        text + "# aws: AWS_SECRET_ACCESS_KEY=planted-a, or planted-in-env\n"
        "# was: s3://me:planted-b/c@lab/x.tar?X-Amz-Signature=planted-d\n"
    )
    source = planned.recipe.source.model_copy(update={"shards": ("az://c/x.tar?sig=planted-e",)})
    recipe = planned.recipe.model_copy(
        update={"source": source, "sink": "s3://u:planted-f@lab/out?token=planted-g"}
    )
    secret = _Placed(planned.file, recipe, planned.models, planned.digest, planned.chunks)
    tracking = Tracking(uri="http://u:planted-h@127.0.0.1:9/?token=planted-i")
    out = io.StringIO()
    with tracked(tracking, secret, {"x": "planted-in-env"}, Console(file=out)) as tracker:
        tracker.output("s3://x:planted-j@lab/shards", "abc")
    kept = [planned.store.read(path).decode() for path in planned.store.list("tracking")]
    assert len(kept) == 1
    for where in (out.getvalue(), kept[0], *planned.store.list("")):
        assert "planted" not in where
        assert "somebody" not in where
        assert "127.0.0.1:9" not in kept[0]
    assert "s3://lab/out" in kept[0]


class _Placed(RunPlan):
    """A plan with URLs that nobody can reach, whose sink is at hand all the same."""

    @property
    def store(self) -> Store:
        return Store(str(self.file.parent / "out"))


def test_two_processes_may_create_the_same_database_at_the_same_moment(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.jobs.racer", str(tmp_path), str(number)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]
    until(lambda: len(list(tmp_path.glob("ready-*"))) == 2 or any(r.poll() for r in racers))
    (tmp_path / "go").touch()
    assert [(racer.communicate()[0], racer.returncode) for racer in racers] == [("", 0)] * 2
    _, run = only_run(Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db"))
    assert run.data.metrics == {"kept-0": 1, "kept-1": 1}
    assert not list(tmp_path.glob("*.lock"))


def test_a_run_that_is_not_tracked_imports_no_mlflow(planned: RunPlan) -> None:
    with tracked(Tracking(uri=None), planned, VERSIONS, Console(file=io.StringIO())) as tracker:
        tracker.progress(Tally(4, 14), Pace(0, 0.0))
        tracker.output("x", "y")
    assert tracker.courier is None
    deliver_waiting(Tracking(uri=None), "x", planned.store, Console(file=io.StringIO()))


def test_where_to_look() -> None:
    assert look_command(Tracking()) == "mlflow ui --backend-store-uri sqlite:///mlflow.db"
    assert look_command(Tracking(uri="http://server:5000")) is None
    assert look_command(Tracking(uri=None)) is None
