"""MLflow refuses, hangs or goes away: nothing waits for it, and its records arrive later, once."""

from __future__ import annotations

import io
import math
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
from rich.console import Console

from jobs.run.live import Pace, Tally
from jobs.run.plan import RunPlan
from jobs.stopping import GRACE_S
from jobs.tracking.courier import END_S, STOP_S
from jobs.tracking.records import Parcel
from jobs.tracking.run import deliver_waiting, tracked
from jobs.tracking.train_log import TrainLog, train_log
from jobs.training.worker import CheckpointReport
from pipeline.storage.store import Store
from schemas.recipe import Tracking
from tests.jobs.mlflow_look import only_run, png, until
from tests.jobs.mlflow_server import MlflowServer
from tests.jobs.sinks import planned_run
from tests.jobs.tracking.test_train_log import report
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
    server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tracking = Tracking(uri=server.uri, experiment="trainings")
    settings = config(tracking=tracking.model_dump(), out=str(tmp_path / "cells/denoiser"))
    kept = Store(f"{settings.out}/.training")
    Path("train.yaml").write_text("steps: 50\n")
    out = io.StringIO()

    def training() -> AbstractContextManager[TrainLog]:
        return train_log(settings, "denoiser", "train.yaml", Console(file=out, width=500))

    with training() as log:
        report(log, 1, 10)
        until(lambda: log._tracker.run_id is not None)
        until(lambda: steps(tracking, "loss") == [10])  # then nothing is under way
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
        assert told(out) == [AWAY, "MLflow"]  # the courier is silent: stderr may be held back
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
    assert capsys.readouterr().out == ""  # MLflow prints the address of a run


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
        tracker.summary({"loss": float("nan")})
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
    assert math.isnan(run.data.metrics["loss"])
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"recipe.yaml", "contact_sheet.png"}


ANSWERS = {
    "nothing": b"",
    "broken off": b"HTTP/1.1 200 OK\r\nContent-Le",
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
    monkeypatch.setattr("jobs.tracking.run.END_S", 3.0 if answer == "drip" else END_S)
    planned = planned_run(tmp_path)
    out = io.StringIO()
    with impostor(answer) as uri:
        track(Tracking(uri=uri), planned, out)
    assert len(planned.store.list("tracking")) == 1
    first, last = out.getvalue().splitlines()
    assert first.startswith("MLflow does not answer" if answer == "drip" else AWAY)
    assert "5 records waiting in" in last


def test_a_kill_while_a_run_waits_at_its_end_costs_no_record(tmp_path: Path) -> None:
    planned = planned_run(tmp_path)
    with impostor("drip") as uri:
        run = threading.Thread(target=track, args=(Tracking(uri=uri), planned, io.StringIO()))
        run.start()
        until(lambda: bool(planned.store.list("tracking")))
        (path,) = planned.store.list("tracking")
        assert run.is_alive()
    run.join()
    assert len(Parcel.from_json(planned.store.read(path)).records) == 5


def track(tracking: Tracking, planned: RunPlan, out: io.StringIO) -> None:
    with tracked(tracking, planned, {}, Console(file=out, width=500)) as tracker:
        tracker.progress(Tally(4, 14, committed=1, kept=5), Pace(6, 2.0))


def test_a_run_is_held_up_by_half_a_minute_at_most() -> None:
    assert END_S < 30
    assert STOP_S < GRACE_S


@contextmanager
def impostor(answer: str) -> Iterator[str]:
    """The URI of what is no MLflow; its connections are closed with the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    opened: list[socket.socket] = []
    with closing(listener), ExitStack() as stack:
        if answer == "refused":
            listener.close()
        else:
            threading.Thread(target=answering, args=(listener, answer, opened)).start()
            stack.callback(lambda: [hang_up(connection) for connection in [listener, *opened]])
        yield f"http://127.0.0.1:{listener.getsockname()[1] if answer != 'refused' else 9}"


def hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def answering(listener: socket.socket, answer: str, opened: list[socket.socket]) -> None:
    """Every connection gets this answer; "nothing" and "half" stay open after it, "drip" in it."""
    with suppress(OSError):
        while True:
            connection = listener.accept()[0]
            opened.append(connection)
            if answer == "drip":
                threading.Thread(target=dripping, args=(connection,)).start()
                continue
            connection.recv(1)
            connection.sendall(ANSWERS[answer])
            if answer not in ("nothing", "half"):
                connection.shutdown(socket.SHUT_WR)


def dripping(connection: socket.socket) -> None:
    """A header that goes on and on, a letter at a time."""
    pause = threading.Event()
    with suppress(OSError):
        connection.recv(1)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not pause.wait(0.3):
            connection.sendall(b"x")
