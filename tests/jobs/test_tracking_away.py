"""MLflow refuses, hangs or goes away: nothing waits for it, and its records arrive later, once."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from jobs.courier import END_S, STOP_S
from jobs.live import Pace, Tally
from jobs.stopping import GRACE_S
from jobs.tracking import deliver_waiting, tracked
from jobs.train_log import TrainLog, train_log
from jobs.train_worker import CheckpointReport
from pipeline.store import Store
from schemas.recipe import Tracking
from tests.jobs.mlflow_look import only_run, png, until
from tests.jobs.mlflow_server import MlflowServer
from tests.jobs.sinks import planned_run
from tests.jobs.test_train_log import report
from tests.pipeline.training.test_training import config

# MLflow's own tables, under an SQLAlchemy that is newer than they are
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

AWAY = "MLflow is away"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    patience(monkeypatch, 20)


def patience(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """How long one request waits: long for a server that is only slow, short for one that hangs."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(seconds))


def told(out: io.StringIO) -> list[str]:
    """What was said, without places and causes."""
    return [line.partition(":")[0].partition(",")[0] for line in out.getvalue().splitlines()]


def steps(tracking: Tracking, name: str) -> list[int]:
    client, run = only_run(tracking)
    return [point.step for point in client.get_metric_history(run.info.run_id, name)]


def test_a_training_goes_on_while_its_server_hangs_and_the_server_gets_everything_later(
    server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = Tracking(uri=server.uri, experiment="trainings")
    settings = config(tracking=tracking.model_dump(), out=str(tmp_path / "cells/denoiser"))
    kept = Store(f"{settings.out}/.training")
    Path("train.yaml").write_text("steps: 50\n")
    out = io.StringIO()

    def training() -> closing[TrainLog]:
        return train_log(settings, "denoiser", "train.yaml", Console(file=out, width=500))

    with training() as log:
        report(log, 1, 10)
        until(lambda: log._tracker.run_id is not None)
        server.hang()
        patience(monkeypatch, 1)
        report(log, 11, 20)
        log.checkpoint(CheckpointReport(20, None, png()))
    assert told(out) == [AWAY, "MLflow"]
    assert "the training goes on without it" in out.getvalue()
    assert len(kept.list("tracking")) == 2  # the records, and the picture that they name

    with training() as log:  # hangs from the start, and goes on before the end
        report(log, 21, 30)
        until(lambda: len(kept.list("tracking")) == 3)
        report(log, 31, 40)
        server.go_on()
        patience(monkeypatch, 20)
    assert kept.list("tracking") == []
    assert told(out) == [AWAY, "MLflow", AWAY, "MLflow"]
    assert steps(tracking, "loss") == [10, 20, 30, 40]
    client, run = only_run(tracking)
    assert run.info.status == "FINISHED"
    files = client.list_artifacts(run.info.run_id, "samples")
    assert [file.path for file in files] == ["samples/000020.png"]


def test_a_server_that_is_killed_and_comes_back_has_all_records_in_order_and_once(
    server: MlflowServer, tmp_path: Path
) -> None:
    planned = planned_run(tmp_path)
    planned.store.create("runs/sheet.png", png())
    tracking = Tracking(uri=server.uri, experiment="cells")
    out = io.StringIO()
    console = Console(file=out, width=500)
    with pytest.raises(KeyError), tracked(tracking, planned, {}, console) as tracker:
        tracker.progress(Tally(4, 14, committed=1, kept=5), Pace(6, 2.0))
        until(lambda: tracker.run_id is not None)
        server.kill()
        tracker.progress(Tally(4, 14, committed=2, kept=6), Pace(6, 2.0))
        raise KeyError
    with tracked(tracking, planned, {}, console) as tracker:
        tracker.progress(Tally(4, 14, committed=3, kept=7), Pace(6, 2.0))
        tracker.progress(Tally(4, 14, committed=4, kept=8), Pace(6, 2.0))
        tracker.picture("contact_sheet.png", "runs/sheet.png")
        assert tracker.run_id is None
    assert told(out) == [AWAY, "MLflow", AWAY, "MLflow"]

    server.start()
    deliver_waiting(tracking, planned.run, planned.store, console)
    assert told(out)[4:] == ["MLflow"]
    assert planned.store.list("tracking") == []
    assert steps(tracking, "kept") == [1, 2, 3, 4]
    client, run = only_run(tracking)
    assert run.info.status == "FINISHED"
    assert run.data.params["recipe"] == planned.digest
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"recipe.yaml", "contact_sheet.png"}


ANSWERS = {
    "nothing": b"",
    "half": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{",
    "error": b"HTTP/1.1 500 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "busy": b"HTTP/1.1 429 no\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n",
    "nonsense": b"SSH-2.0-OpenSSH\r\n",
    "other server": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("answer", [*ANSWERS, "refused", "drip"])
def test_whatever_answers_instead_of_mlflow_a_run_ends_and_its_records_are_kept(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that sends a byte now and then never runs into a time-out: it is left behind."""
    patience(monkeypatch, 1)
    monkeypatch.setattr("jobs.tracking.END_S", 2.0 if answer == "drip" else END_S)
    planned = planned_run(tmp_path)
    out = io.StringIO()
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        tracking = Tracking(uri=f"http://127.0.0.1:{listener.getsockname()[1]}")
        if answer == "refused":
            listener.close()
        else:
            threading.Thread(target=answering, args=(listener, answer), daemon=True).start()
        with tracked(tracking, planned, {}, Console(file=out, width=500)) as tracker:
            tracker.progress(Tally(4, 14, committed=1, kept=5), Pace(6, 2.0))
        assert tracker.courier is not None
        assert len(planned.store.list("tracking")) == 1
        first, last = out.getvalue().splitlines()
        assert first.startswith("MLflow does not answer" if answer == "drip" else AWAY)
        assert "5 records waiting in" in last


def test_a_run_is_held_up_by_half_a_minute_at_most() -> None:
    assert END_S < 30
    assert STOP_S < GRACE_S


def answering(listener: socket.socket, answer: str) -> None:
    """Every connection gets this answer, and is closed then; "nothing" and "drip" stay open."""
    open_ones = []
    try:
        while True:
            connection = listener.accept()[0]
            open_ones.append(connection)
            connection.recv(1)
            if answer == "drip":
                threading.Thread(target=dripping, args=(connection,), daemon=True).start()
                continue
            connection.sendall(ANSWERS[answer])
            if answer not in ("nothing", "half"):
                connection.shutdown(socket.SHUT_WR)
    except OSError:
        for connection in open_ones:
            connection.close()


def dripping(connection: socket.socket) -> None:
    """A header that goes on and on, a letter at a time."""
    pause = threading.Event()
    try:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not pause.wait(0.3):
            connection.sendall(b"x")
    except OSError:
        pass
