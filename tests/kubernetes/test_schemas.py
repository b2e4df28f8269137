"""The checks themselves: what they must find."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.pods import broken_rules
from tests.kubernetes.schemas import problems

MIXED = Path(__file__).parents[2] / "infra" / "kuberay" / "overlays" / "mixed"


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((MIXED / "job" / "rayjob.yaml").read_text())
    return loaded


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("metadata", "nmae"), "x"),
        (("spec", "entrypiont"), "x"),
        (("spec", "backoffLimit"), "two"),
        (("spec", "submitterPodTemplate", "spec", "containers"), {}),
        (("spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "automount"), True),
        (("spec", "rayClusterSpec", "autoscalerOptions", "version"), "v3"),
        (("apiVersion",), "ray.io/v2"),
    ],
)
def test_a_key_or_a_value_that_is_wrong_is_found_wherever_it_is(
    job: dict[str, Any], place: tuple[str, ...], value: object
) -> None:
    wrong = deepcopy(job)
    inner = wrong
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    assert problems(job) == []
    assert problems(wrong) != []


def test_kubernetes_own_kinds_refuse_unknown_keys_too() -> None:
    budget = yaml.safe_load((MIXED / "job" / "disruption-budget.yaml").read_text())
    assert problems(budget) == []
    budget["spec"]["minAvailabel"] = 1
    assert problems(budget) != []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("securityContext", {"runAsNonRoot": True, "runAsUser": 0}),
        ("automountServiceAccountToken", True),
        ("hostNetwork", True),
        ("volumes", [{"name": "tmp", "hostPath": {"path": "/"}}]),
    ],
)
def test_a_pod_that_is_not_restricted_is_found(
    job: dict[str, Any], name: str, value: object
) -> None:
    wrong = deepcopy(job)
    wrong["spec"]["submitterPodTemplate"]["spec"][name] = value
    assert broken_rules(job) == []
    assert broken_rules(wrong) != []
