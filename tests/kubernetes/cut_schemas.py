"""Makes kubernetes.schema.json: `python -m tests.kubernetes.cut_schemas kubernetes_validate.whl`.

The package kubernetes-validate holds the OpenAPI schemas of every version of Kubernetes, 72 MB in
17,000 files: too much to install for a test. Here are the kinds that we write, of one version, with
all that they refer to, and without descriptions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

HERE = Path(__file__).parent
VERSION = "v1.37.0"
SOURCE = f"kubernetes_validate/kubernetes-json-schema/{VERSION}-local/_definitions.json"
KINDS = {
    "ConfigMap": "io.k8s.api.core.v1.ConfigMap",
    "CronJob": "io.k8s.api.batch.v1.CronJob",
    "Namespace": "io.k8s.api.core.v1.Namespace",
    "NetworkPolicy": "io.k8s.api.networking.v1.NetworkPolicy",
    "PersistentVolumeClaim": "io.k8s.api.core.v1.PersistentVolumeClaim",
    "PodDisruptionBudget": "io.k8s.api.policy.v1.PodDisruptionBudget",
    "PodTemplate": "io.k8s.api.core.v1.PodTemplate",
    "Role": "io.k8s.api.rbac.v1.Role",
    "RoleBinding": "io.k8s.api.rbac.v1.RoleBinding",
    "ServiceAccount": "io.k8s.api.core.v1.ServiceAccount",
}
PREFIX = "/api/_definitions.json#/$defs/"


def bare(value: Any) -> Any:
    """Without descriptions, and with references into this one file."""
    if isinstance(value, dict):
        found = {k: bare(v) for k, v in value.items() if k != "description" or isinstance(v, dict)}
        if isinstance(found.get("$ref"), str):
            found["$ref"] = found["$ref"].replace(PREFIX, "#/$defs/")
        return found
    return [bare(one) for one in value] if isinstance(value, list) else value


def references(value: Any) -> set[str]:
    """Every definition that is referred to."""
    if isinstance(value, dict):
        own = value.get("$ref")
        names = {own.rpartition("/")[2]} if isinstance(own, str) else set()
        return names.union(*(references(inner) for inner in value.values()))
    return set().union(*(references(one) for one in value)) if isinstance(value, list) else set()


def main() -> None:
    with ZipFile(sys.argv[1]) as wheel:
        defs = json.loads(wheel.read(SOURCE))["$defs"]
    wanted, kept = set(KINDS.values()), {}
    while wanted:
        name = wanted.pop()
        kept[name] = bare(defs[name])
        wanted |= references(kept[name]) - kept.keys()
    cut = {"version": VERSION, "kinds": KINDS, "$defs": kept}
    text = json.dumps(cut, sort_keys=True, separators=(",", ":"))
    (HERE / "kubernetes.schema.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
