"""A real MLflow server in a process of its own, which a test may hang, kill and start again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.jobs.mlflow_look import new_database, until


class MlflowServer:
    """On loopback, with a database and artifacts in `folder`; not started yet."""

    def __init__(self, folder: Path) -> None:
        self._database = new_database(folder / "mlflow.db")
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """As `mlflow server` does, which is slower by the seconds of importing MLflow twice."""
        command = ["uvicorn", "--host", "127.0.0.1", "--port", str(self.port)]
        place = {
            "_MLFLOW_SERVER_FILE_STORE": self._database,
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(self._folder / "artifacts"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command, "mlflow.server.fastapi_app:app"],
                cwd=self._folder,
                env=os.environ | place,
                stdout=log,
                stderr=log,
            )
        until(self._answers)

    def hang(self) -> None:
        """It accepts what comes, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After `hang`."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """It refuses connections from here on."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            with urlopen(f"{self.uri}/health", timeout=5):
                return True
        except (URLError, OSError):
            return False
