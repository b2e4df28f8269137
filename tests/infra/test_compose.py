"""infra/compose: what Compose takes, nothing that is missing, and no secret in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from pipeline.recipe import load_recipe
from pipeline.source.plan import plan
from pipeline.storage.store import Store
from tests.infra.scripts import module_of
from tests.jobs.workplace import ROOT
from tests.s3.server import S3

COMPOSE = ROOT / "infra" / "compose"
FILES = ("compose.yaml", "compose.gpu.yaml")
SCHEMA = Path(__file__).parent / "schemas" / "compose-spec.schema.json"
OURS = {"head", "worker", "load", "mlflow", "prometheus", "grafana"}
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|_KEY")


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((COMPOSE / name).read_text())
    return loaded


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load("compose.yaml")["services"]
    return found


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compose")
    shutil.copy(COMPOSE / "secrets.sh", folder)
    subprocess.run([folder / "secrets.sh"], check=True, capture_output=True)
    return folder / "secrets"


@pytest.mark.parametrize("name", FILES)
def test_compose_takes_it_and_would_not_take_a_misspelt_key(name: str) -> None:
    judge = Draft202012Validator(json.loads(SCHEMA.read_text()))
    file = load(name)
    assert [f"{e.json_path}: {e.message[:200]}" for e in judge.iter_errors(file)] == []
    file["services"]["worker"]["comand"] = "ray"
    assert list(judge.iter_errors(file)) != []


def test_every_file_that_is_mounted_is_there(services: dict[str, dict[str, Any]]) -> None:
    sources = [
        volume.split(":")[0]
        for service in services.values()
        for volume in service.get("volumes", ())
        if volume.startswith(".")
    ]
    assert sources
    assert [source for source in sources if not (COMPOSE / source).exists()] == []


def test_every_secret_is_made_by_the_script_and_stays_as_it_is(
    services: dict[str, dict[str, Any]], secrets: Path
) -> None:
    declared = load("compose.yaml")["secrets"]
    assert {s for service in services.values() for s in service.get("secrets", ())} == set(declared)
    files = [one["file"] for one in declared.values()]
    files += [name for service in services.values() for name in service.get("env_file", ())]
    made = {path.name: path.read_text() for path in secrets.iterdir()}
    assert {Path(name).name for name in files} == made.keys()
    assert all(made.values())
    assert secrets.stat().st_mode & 0o777 == 0o700
    subprocess.run([secrets.parent / "secrets.sh"], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == made
    (identity,) = json.loads(made["s3.json"])["identities"]
    assert identity["credentials"] == [
        {"accessKey": made["s3_access_key"], "secretKey": made["s3_secret_key"]}
    ]


def test_git_ignores_the_secrets() -> None:
    assert "/infra/compose/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_no_secret_stands_in_the_file(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for key, value in service.get("environment", {}).items():
            if SECRET.search(key):
                assert str(value).startswith("/run/secrets/"), f"{name}: {key}"


def test_ports_are_open_to_this_machine_alone(services: dict[str, dict[str, Any]]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_ours_have_no_capability_and_a_read_only_root(services: dict[str, dict[str, Any]]) -> None:
    for name in OURS:
        assert services[name]["read_only"], name
        assert services[name]["cap_drop"] == ["ALL"], name
    for name, service in services.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_images_of_others_are_of_one_version(services: dict[str, dict[str, Any]]) -> None:
    images = {service["image"] for service in services.values()}
    others = {image for image in images if not image.startswith("${")}
    assert others
    assert all(re.fullmatch(r"[\w./-]+:v?\d+(\.\d+)+", image) for image in others)


def test_services_wait_for_services_that_there_are(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service.get("depends_on", {}).keys() <= services.keys(), name


def test_prometheus_asks_the_services_where_ray_exports(
    services: dict[str, dict[str, Any]],
) -> None:
    (job,) = load("prometheus.yml")["scrape_configs"]
    (where,) = job["dns_sd_configs"]
    assert where["names"] == ["head", "worker"]
    for name in where["names"]:
        assert f"--metrics-export-port={where['port']}" in services[name]["command"]


def test_the_sample_data_is_loaded_where_the_recipe_looks_for_it_and_once(
    s3_server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    loader = module_of(COMPOSE / "load.py")
    s3, data = boto3.client("s3"), ROOT / "data"
    shards = len(list(data.rglob("*.tar")))
    assert loader.load(s3, data, ["noiseloom", "mlflow"]) == shards
    assert loader.load(s3, data, ["noiseloom", "mlflow"]) == 0
    recipe = load_recipe(COMPOSE / "nuclei.yaml")
    assert plan(recipe.source, recipe.chunk_size, "digest").chunks
    assert Store(recipe.sink).list("index") == []


def test_the_loader_needs_nothing_but_the_image_of_mlflow() -> None:
    lock = (ROOT / "infra" / "mlflow" / "requirements.lock").read_text()
    assert "\nboto3==" in lock
    text = (COMPOSE / "load.py").read_text()
    named = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
    assert named - set(sys.stdlib_module_names) == {"boto3", "botocore"}
