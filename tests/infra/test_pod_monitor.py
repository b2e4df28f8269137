"""infra/monitoring/pod-monitor.yaml: it finds the pods that Ray runs in, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.test_kuberay import BASE, OVERLAYS, load, policies, resources, selects
from tests.kubernetes.schemas import problems

MONITORING = Path(__file__).parents[2] / "infra" / "monitoring"
MONITOR = load(MONITORING / "pod-monitor.yaml")
RAY = {"ray-head", "ray-worker"}


def templates(value: Any) -> Iterator[dict[str, Any]]:
    """Every template of a pod, wherever it is."""
    if isinstance(value, dict):
        if "containers" in value.get("spec", {}):
            yield value
        for inner in value.values():
            yield from templates(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from templates(inner)


def scraped(monitor: dict[str, Any], template: dict[str, Any]) -> dict[str, int]:
    """The ports of a pod that the monitor asks, by the names of their containers."""
    if not selects(monitor["spec"]["selector"], template["metadata"]["labels"]):
        return {}
    names = {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
    return {
        container["name"]: port["containerPort"]
        for container in template["spec"]["containers"]
        for port in container.get("ports", ())
        if port["name"] in names
    }


@pytest.fixture(scope="module")
def pods() -> list[dict[str, Any]]:
    """Of all overlays: those of clusters, of jobs with their submitters, of nights."""
    found = [t for folder in OVERLAYS for t in templates(list(resources(folder).values()))]
    assert {t["spec"]["containers"][0]["name"] for t in found} == RAY | {"ray-job-submitter"}
    return found


def test_it_is_what_the_operator_takes_and_no_key_is_unknown() -> None:
    assert problems(MONITOR) == []
    wrong = deepcopy(MONITOR)
    wrong["spec"]["podMetricsEndpoints"][0]["relabelings"][0]["target_label"] = "job"
    assert problems(wrong) != []


def test_every_pod_of_ray_is_scraped_where_it_exports_and_no_other_pod(
    pods: list[dict[str, Any]],
) -> None:
    for pod in pods:
        name = pod["spec"]["containers"][0]["name"]
        assert scraped(MONITOR, pod) == ({name: 8080} if name in RAY else {}), name


def test_a_name_or_a_label_that_is_another_would_be_found(pods: list[dict[str, Any]]) -> None:
    ray = next(pod for pod in pods if scraped(MONITOR, pod))
    port, label = deepcopy(MONITOR), deepcopy(MONITOR)
    port["spec"]["podMetricsEndpoints"][0]["port"] = "metrics-export"
    label["spec"]["selector"]["matchLabels"]["app.kubernetes.io/part-of"] = "ray"
    assert scraped(port, ray) == scraped(label, ray) == {}


def test_the_policy_lets_prometheus_in_where_the_monitor_sends_it(
    pods: list[dict[str, Any]],
) -> None:
    (policy,) = [one for one in policies() if one["metadata"]["name"] == "allow-prometheus"]
    assert MONITOR["metadata"]["namespace"] == load(BASE / "namespace.yaml")["metadata"]["name"]
    for pod in (one for one in pods if scraped(MONITOR, one)):
        assert selects(policy["spec"]["podSelector"], pod["metadata"]["labels"])
        allowed = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        assert set(scraped(MONITOR, pod).values()) <= allowed


def test_series_have_the_names_and_labels_that_the_other_configuration_gives_them() -> None:
    config = yaml.safe_load((MONITORING / "prometheus.kubernetes.yml").read_text())
    (theirs,) = config["scrape_configs"]
    (ours,) = MONITOR["spec"]["podMetricsEndpoints"]
    assert ours["interval"] == config["global"]["scrape_interval"]
    assert ours["metricRelabelings"] == theirs["metric_relabel_configs"]
    named = {one["targetLabel"]: one for one in ours["relabelings"]}
    assert named["job"]["replacement"] == theirs["job_name"]
    set_by_name = {
        one["target_label"]: one["source_labels"]
        for one in theirs["relabel_configs"]
        if "target_label" in one
    }
    assert set_by_name.pop("pod")  # the operator sets that one by itself
    assert {
        name: one["sourceLabels"] for name, one in named.items() if name != "job"
    } == set_by_name
