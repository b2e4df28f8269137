"""Ten secrets, planted where users have them: after a run none of them is in any file that it left,
nor in what it said.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from rich.console import Console

from jobs.cli.main import main
from jobs.tracking.run import tracked
from schemas.recipe import Tracking
from tests.jobs.sinks import planned_run
from tests.pipeline.shards import sample_files, tar_of

ROOT = Path(__file__).parents[2]

IN_ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+planted1",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEplanted2==",
    "AZURE_STORAGE_ACCOUNT_KEY": "Eby8vdM02xNOcqFlqUwJPLplanted3==",
    "MLFLOW_TRACKING_PASSWORD": "hunter2-planted4",
    "HF_TOKEN": "hf_planted5planted5planted5",
}
IN_URI = {"token": "planted6-aa/bb", "password": "planted7"}
IN_COMMENTS = {
    "# the old password: {}": "planted8-swordfish",
    "# curl -H 'Authorization: Bearer {}'": "eyJhbGciOiJIUzI1NiJ9.planted9.c2ln",
    "# https://lab.blob.core.windows.net/c?sv=2024&sig={}": "planted10%2Bx%3D",
}
PLANTED = [*IN_ENVIRONMENT.values(), *IN_URI.values(), *IN_COMMENTS.values()]

RECIPE = """
source: {shards: 'train-*.tar', segmentation: seg.png}
sink: out
copies: 2
budget: {failed: 0.9}
ops: [{kind: classic, transforms: [{HorizontalFlip: {}}]}]
"""


def found_in(data: bytes) -> list[str]:
    """The planted secrets that stand in these bytes, as they are or as a URL has them."""
    forms = {secret: (secret, quote(secret, safe="")) for secret in PLANTED}
    return [secret for secret, ways in forms.items() if any(way.encode() in data for way in ways)]


def found_below(*folders: Path) -> dict[str, list[str]]:
    """File -> the secrets that stand in it."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert files
    found = {str(path): found_in(path.read_bytes()) for path in files}
    return {path: secrets for path, secrets in found.items() if secrets}


@dataclass(frozen=True)
class Run:
    """A folder in which a run was, the folder where Ray left its own, and what was said."""

    folder: Path
    ray: Path
    said: str


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("secrets")
    files = [file for n in range(3) for file in sample_files(f"s{n}")]
    files[0] = (files[0][0], b"no image")
    (folder / "train-0.tar").write_bytes(tar_of(files))
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in IN_URI.items())
    comments = "\n".join(comment.format(secret) for comment, secret in IN_COMMENTS.items())
    tracking = f"tracking: {{uri: 'sqlite:///file:m.db?uri=true&{query}'}}\n"
    (folder / "cells.yaml").write_text(f"{comments}\n{RECIPE}{tracking}")
    ray = Path(tempfile.mkdtemp(prefix="n", dir="/tmp"))  # the names of Ray's sockets are long
    environment = {
        **os.environ,
        **IN_ENVIRONMENT,
        "PYTHONPATH": str(ROOT),
        "RAY_TMPDIR": str(ray),
        "COLUMNS": "250",
    }
    said = ""
    for words in (["run", "--dry-run"], ["run"]):
        main = "from jobs.cli.main import main; main()"
        command = [sys.executable, "-c", main, *words, "cells.yaml"]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        said += done.stdout + done.stderr
    yield Run(folder, ray, said)
    shutil.rmtree(ray, ignore_errors=True)


def test_no_secret_is_in_any_file_that_a_run_left(run: Run) -> None:
    recipe = run.folder / "cells.yaml"
    assert found_in(recipe.read_bytes()) == [*IN_URI.values(), *IN_COMMENTS.values()]
    names = {path.suffix for path in run.folder.rglob("*") if path.is_file()}
    assert {".db", ".tar", ".parquet", ".json", ".yaml"} <= names
    assert list(run.folder.glob("out/quarantine/*.tar"))
    assert found_below(run.folder) == {str(recipe): [*IN_URI.values(), *IN_COMMENTS.values()]}


def test_no_secret_is_in_what_ray_left(run: Run) -> None:
    assert found_below(run.ray) == {}


def test_no_secret_is_said(run: Run) -> None:
    assert "out/shards" in run.said
    assert found_in(run.said.encode()) == []


def test_the_run_is_in_mlflow_nevertheless(run: Run) -> None:
    assert "MLflow is away" not in run.said
    copies = list(run.folder.rglob("recipe.yaml"))
    assert len(copies) == 1
    assert "HorizontalFlip" in copies[0].read_text()


def test_the_password_of_a_server_that_is_away_is_kept_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    planned = planned_run(tmp_path)
    out = io.StringIO()
    tracking = Tracking(uri="http://me:planted8-swordfish@127.0.0.1:9/x?token=planted7")
    with tracked(tracking, planned, {}, Console(file=out, width=500)) as tracker:
        tracker.summary({"kept": 1.0})
    assert "127.0.0.1:9" in out.getvalue()
    assert found_in(out.getvalue().encode()) == []
    assert found_below(tmp_path) == {}


@pytest.mark.parametrize(
    ("source", "sink"),
    [
        ("s3://me:planted7@lab/a.tar", "out"),
        ("a.tar", "s3://AKIAX:planted7@lab/out"),
        ("s3://lab/a.tar?X-Amz-Signature=planted7", "out"),
        ("gs://lab/{0..9}.tar?access_token=planted7", "out"),
        ("a.tar", "az://lab/out?sv=2024&sig=planted7"),
        ("a.tar", "s3://lab/out#token=planted7"),
    ],
)
def test_a_url_that_signs_in_is_refused_and_not_repeated(
    source: str,
    sink: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text = RECIPE.replace("train-*.tar", source).replace("sink: out", f"sink: '{sink}'")
    (tmp_path / "cells.yaml").write_text(text)
    monkeypatch.setattr(sys, "argv", ["noiseloom", "run", "cells.yaml"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    said = capsys.readouterr()
    assert "environment" in said.err
    assert found_in((said.out + said.err).encode()) == []
