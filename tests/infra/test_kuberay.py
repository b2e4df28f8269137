"""infra/kuberay: what is committed is what is rendered, and what the API servers take."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.kubernetes.pods import broken_rules
from tests.kubernetes.schemas import problems

KUBERAY = Path(__file__).parents[2] / "infra" / "kuberay"
BASE = KUBERAY / "base"
OVERLAYS = sorted(path.parent for path in KUBERAY.glob("overlays/*/*/kustomization.yaml"))
ALL = [BASE, *OVERLAYS]
PART = {"app.kubernetes.io/part-of": "noiseloom"}


@cache
def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def resources(folder: Path) -> dict[str, dict[str, Any]]:
    """What a kustomization names, with the folders that it names, as kustomize gathers them."""
    found = {}
    for name in load(folder / "kustomization.yaml")["resources"]:
        path = (folder / name).resolve()
        if path.is_dir():
            found |= resources(path)
        else:
            found[str(path.relative_to(KUBERAY))] = load(path)
    return found


@pytest.fixture(scope="module")
def render() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kuberay_render", KUBERAY / "render.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_what_is_committed_is_what_the_recipes_render_to(render: ModuleType) -> None:
    below = KUBERAY / "overlays"
    committed = {
        str(path.relative_to(below)): path.read_text()
        for path in below.rglob("*")
        if path.is_file()
    }
    assert committed == render.rendered()


def test_there_is_every_kind_for_every_pool() -> None:
    told = {f"{path.parent.name}/{path.name}" for path in OVERLAYS}
    assert told == {
        f"{pool}/{kind}" for pool in ("cpu", "gpu", "mixed") for kind in ("cluster", "job", "cron")
    }


@pytest.mark.parametrize("folder", ALL, ids=lambda path: str(path.relative_to(KUBERAY)))
def test_every_file_is_what_the_api_server_takes_and_every_pod_is_restricted(folder: Path) -> None:
    for name, manifest in resources(folder).items():
        assert problems(manifest) == [], name
        assert broken_rules(manifest) == [], name
        if manifest["kind"] != "Namespace":
            assert manifest["metadata"]["namespace"] == "noiseloom", name


def test_every_yaml_file_belongs_to_a_kustomization() -> None:
    named = {name for folder in ALL for name in resources(folder)}
    there = {str(path.relative_to(KUBERAY)) for path in KUBERAY.rglob("*.yaml")}
    extra = {name for name in there - named if not name.endswith("kustomization.yaml")}
    assert extra == {f"recipes/{pool}.yaml" for pool in ("cpu", "gpu", "mixed")}


@pytest.mark.parametrize("folder", ALL, ids=lambda path: str(path.relative_to(KUBERAY)))
def test_kustomize_builds_the_same_resources(folder: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not here: the files are checked as they are")
    command = ["kubectl", "kustomize", str(folder)]
    built = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs = {(m["kind"], m["metadata"]["name"]): m for m in yaml.safe_load_all(built)}
    mine = {(m["kind"], m["metadata"]["name"]): m for m in resources(folder).values()}
    assert theirs == mine


def test_one_line_of_a_kustomization_names_the_image_of_every_container(
    tmp_path: Path, render: ModuleType
) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not here, and only kustomize replaces images")
    shutil.copytree(KUBERAY, tmp_path / "kuberay")
    folder = tmp_path / "kuberay" / "overlays" / "mixed" / "cron"
    file, mine = folder / "kustomization.yaml", f"sha256:{'7e' * 32}"
    file.write_text(file.read_text().replace(f"digest: {render.DIGEST}", f"digest: {mine}"))
    command = ["kubectl", "kustomize", str(folder)]
    built = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert render.DIGEST not in built
    assert built.count(mine) == 4  # head, two kinds of workers, submitter


def policies() -> list[dict[str, Any]]:
    return [m for m in resources(BASE).values() if m["kind"] == "NetworkPolicy"]


def test_everything_is_denied_that_no_policy_allows() -> None:
    (deny,) = [p for p in policies() if p["metadata"]["name"] == "deny-all"]
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    plain = selector.get("matchLabels", {}).items() <= labels.items()
    return plain and all(
        labels.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", ())
    )


@pytest.mark.parametrize(
    ("component", "into", "out_of"),
    [
        ("head", {"inside", "operator", "prometheus"}, {"inside", "dns", "https", "api-server"}),
        ("worker", {"inside", "prometheus"}, {"inside", "dns", "https"}),
        ("submitter", {"inside"}, {"inside", "dns"}),
        ("starter", set(), {"dns", "api-server"}),
    ],
)
def test_each_pod_reaches_what_it_needs_and_no_more(
    component: str, into: set[str], out_of: set[str]
) -> None:
    labels = {**PART, "app.kubernetes.io/component": component}
    found: dict[str, set[str]] = {"ingress": set(), "egress": set()}
    for policy in policies():
        if selects(policy["spec"]["podSelector"], labels):
            name = policy["metadata"]["name"].removeprefix("allow-")
            for way, names in found.items():
                if policy["spec"].get(way):
                    names.add(name)
    assert found == {"ingress": into, "egress": out_of}


def test_no_policy_lets_a_pod_ask_the_cloud_for_the_credentials_of_its_node() -> None:
    blocks = [
        to["ipBlock"]
        for policy in policies()
        for rule in policy["spec"].get("egress", ())
        for to in rule["to"]
        if "ipBlock" in to
    ]
    assert blocks
    assert all("169.254.0.0/16" in b["except"] for b in blocks if b["cidr"] == "0.0.0.0/0")
