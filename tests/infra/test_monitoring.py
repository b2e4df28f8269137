"""infra/monitoring: the dashboard and the alerts ask for what a run really exports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from pipeline.metering import METRICS
from tests.infra.promql import asked, exported
from tests.infra.scripts import module_of
from tests.jobs.workplace import ROOT, workplace, write_source

MONITORING = ROOT / "infra" / "monitoring"
SCHEMAS = Path(__file__).parent / "schemas"
CONFIGS = [*sorted(MONITORING.glob("prometheus*.yml")), ROOT / "infra/compose/prometheus.yml"]
GPU = ("ray_node_gpus_utilization", "ray_node_gram_used")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def render() -> ModuleType:
    return module_of(MONITORING / "render.py")


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
    return loaded


def queries_of(dashboard: dict[str, Any]) -> dict[str, str]:
    """Every query of the dashboard and of the alerts, by where it stands."""
    found = {
        f"{panel['title']}/{target['legendFormat']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    }
    for group in load(MONITORING / "alerts.yml")["groups"]:
        found |= {rule["alert"]: rule["expr"] for rule in group["rules"]}
    return {place: query.replace("$__rate_interval", "1m") for place, query in found.items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """What a real run exports: of all its ops, with a gate, and a batch that does not fit."""
    folder = tmp_path_factory.mktemp("exported")
    source = write_source(folder)
    gate = "gates:\n- {kind: fidelity, ssim: [0.5, 0.97]}"
    place = workplace(folder / "job", source, more=gate).folder
    out = place / "exported.txt"
    subprocess.run(
        [sys.executable, "-m", "tests.infra.exported", "cells.yaml", out],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        timeout=600,
    )
    return exported(out.read_text())


def test_a_run_exports_every_metric_that_is_declared(run: dict[str, set[str]]) -> None:
    endings = {"counter": "_total", "gauge": "", "histogram": "_bucket"}
    for metric in METRICS:
        name = f"ray_{metric.name}{endings[metric.kind]}"
        assert set(metric.tags) <= run.get(name, {"(not exported)"}), name


def test_every_query_asks_for_what_a_run_exports(
    dashboard: dict[str, Any], run: dict[str, set[str]]
) -> None:
    there = run | of_gpus()
    missing = {
        f"{place}: {metric}{sorted(labels - there.get(metric, set()))}"
        for place, query in queries_of(dashboard).items()
        for metric, labels in asked(query).items()
        if metric not in there or not labels <= there[metric]
    }
    assert missing == set()


def of_gpus() -> dict[str, set[str]]:
    """What Ray exports where there are GPUs, out of its own code: here are none."""
    from ray.dashboard.consts import GPU_TAG_KEYS
    from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

    assert {name.removeprefix("ray_") for name in GPU} <= METRICS_GAUGES.keys()
    return {name: set(GPU_TAG_KEYS) for name in GPU}


def test_a_query_for_what_is_not_there_is_found() -> None:
    text = '# HELP ray_a x\nray_a{run="1, {x}",op="b"} 3.0\nray_b 1\n'
    assert exported(text) == {"ray_a": {"run", "op"}, "ray_b": set()}
    query = 'sum by (le, op) (rate(ray_a{run=~"$run", x!=""}[1m])) / ray_b unless ray_b offset 1h'
    assert asked(query) == {"ray_a": {"run", "x", "le", "op"}, "ray_b": {"le", "op"}}
    with pytest.raises(ValueError, match="rat"):
        asked("rat(ray_a[1m])")


def test_the_dashboard_shows_every_metric_of_ours(dashboard: dict[str, Any]) -> None:
    text = json.dumps(dashboard)
    assert [metric.name for metric in METRICS if f"ray_{metric.name}" not in text] == []


def test_what_is_committed_is_what_is_rendered(render: ModuleType) -> None:
    assert (MONITORING / "dashboard.json").read_text() == render.dashboard()


def test_panels_have_numbers_of_their_own_and_do_not_overlap(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def problems(schema: str, document: Any) -> list[str]:
    loaded = json.loads((SCHEMAS / f"{schema}.schema.json").read_text())
    return [
        f"{e.json_path}: {e.message[:200]}" for e in Draft7Validator(loaded).iter_errors(document)
    ]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_prometheus_takes_its_configuration(path: Path) -> None:
    config = load(path)
    assert problems("prometheus", config) == []
    config["scrape_configs"][0]["metrics_pth"] = "/"
    assert problems("prometheus", config) != []


def test_prometheus_takes_the_alerts_and_each_says_what_to_do() -> None:
    alerts = load(MONITORING / "alerts.yml")
    assert problems("prometheus.rules", alerts) == []
    for group in alerts["groups"]:
        for rule in group["rules"]:
            assert {"summary", "description"} <= rule["annotations"].keys()
            assert rule["labels"]["severity"] in ("critical", "warning", "info")


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not here: the files are held against their schemas alone")
    return found


def judged(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_reads_every_query(
    promtool: str, dashboard: dict[str, Any], tmp_path: Path
) -> None:
    queries = queries_of(dashboard).values()
    rules = [{"record": f"q{i}", "expr": query} for i, query in enumerate(queries)]
    groups = {"groups": [{"name": "queries", "rules": rules}]}
    (tmp_path / "queries.yml").write_text(yaml.safe_dump(groups))
    judged(promtool, "check", "rules", str(tmp_path / "queries.yml"))


def test_alerts_are_raised_when_they_should_and_only_then(promtool: str) -> None:
    judged(promtool, "test", "rules", str(Path(__file__).parent / "alerts.test.yml"))
