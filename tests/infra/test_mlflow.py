"""infra/mlflow: the server as its image starts it, here on SQLite and a folder, wants passwords."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from rich.console import Console

from jobs.tracking.run import open_tracker
from pipeline.storage.store import Store
from schemas.recipe import Tracking
from tests.jobs.mlflow_look import new_database, only_run, png, until
from tests.jobs.workplace import ROOT

# MLflow's own tables, under an SQLAlchemy that is newer than they are
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

MLFLOW = ROOT / "infra" / "mlflow"
SECRETS = {
    "postgres_password": "p",
    "mlflow_admin_password": "a-long-password",
    "mlflow_secret_key": "k",
    "s3_access_key": "s",
    "s3_secret_key": "t",
}


@dataclass(frozen=True)
class Server:
    """Where it listens, and the folder of its secrets and artifacts."""

    uri: str
    folder: Path


def command(folder: Path, port: int) -> dict[str, str]:
    """What serve.sh is told to be small: no PostgreSQL, no store, one worker."""
    auth = (MLFLOW / "auth.ini").read_text()
    own = "postgresql://mlflow@postgres/mlflow_auth"
    assert own in auth
    (folder / "auth.ini").write_text(auth.replace(own, f"sqlite:///{folder}/auth.db"))
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "SECRETS": str(folder / "secrets"),
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_BACKEND_STORE_URI": new_database(folder / "mlflow.db"),
        "ARTIFACTS": str(folder / "artifacts"),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WORKERS": "1",
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("mlflow")
    (folder / "secrets").mkdir()
    for name, secret in SECRETS.items():
        (folder / "secrets" / name).write_text(secret)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    uri, environment = f"http://127.0.0.1:{port}", command(folder, port)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [MLFLOW / "serve.sh"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            with urlopen(f"{uri}/health", timeout=5):
                return True
        except (URLError, OSError):
            return False

    try:
        until(answers)
        yield Server(uri, folder)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with its workers; in order, it takes a minute
        process.wait()


@pytest.mark.parametrize("path", ["/", "/api/2.0/mlflow/experiments/search?max_results=1"])
def test_who_says_no_password_sees_nothing(server: Server, path: str) -> None:
    with pytest.raises(HTTPError) as refused:
        urlopen(server.uri + path, timeout=10)
    with refused.value:
        assert refused.value.code == 401


def test_a_wrong_password_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "password1234")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MlflowException, match="401"):
        MlflowClient(server.uri).search_experiments()


def test_a_run_is_tracked_with_the_password_in_the_environment_and_its_pictures_go_by_the_server(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRETS["mlflow_admin_password"])
    tracking, out = Tracking(uri=server.uri, experiment="cells"), io.StringIO()
    store = Store(str(tmp_path / "sink"))
    tracker = open_tracker(tracking, "cells-1", store, Console(file=out))
    tracker.begin("cells-1", {"seed": "7"}, "recipe.yaml", "seed: 7\n")
    tracker.new_picture("sheet.png", png())
    tracker.summary({"kept": 3})
    tracker.end("FINISHED")
    assert out.getvalue() == ""
    client, run = only_run(tracking)
    assert (run.data.params, run.data.metrics) == ({"seed": "7"}, {"kept": 3})
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"recipe.yaml", "sheet.png"}
    assert list((server.folder / "artifacts").rglob("sheet.png"))


def test_without_its_secrets_it_says_which_one_and_does_not_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [MLFLOW / "serve.sh"],
        env={"PATH": os.environ["PATH"], "SECRETS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"{tmp_path}/postgres_password: no such secret" in done.stderr
