"""Manifests as files: one resource a file, the same bytes for the same resource."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import yaml

from jobs.scheduling import pods
from jobs.scheduling.cloud import Cloud, shipped_recipe
from jobs.scheduling.night import Files, Night
from jobs.scheduling.pods import Manifest


class _Dumper(yaml.SafeDumper):
    """Keys in the order in which they were written, long texts as blocks, no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def yaml_of(manifest: Manifest) -> str:
    """One document."""
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def files_of(manifests: Mapping[str, Manifest], cloud: Cloud) -> Files:
    """The resources, and a kustomization that names them all."""
    files = {name: yaml_of(manifest) for name, manifest in manifests.items()}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": cloud.namespace,
        "resources": list(files),
    }
    return {"kustomization.yaml": yaml_of(kustomization), **files}


def resource(api: str, kind: str, name: str, night: Night, cloud: Cloud) -> Manifest:
    """The head of a resource."""
    metadata = {
        "name": name,
        "namespace": cloud.namespace,
        "labels": pods.labels(night.name, "nightly"),
    }
    return {"apiVersion": api, "kind": kind, "metadata": metadata}


def config_map(stem: str, data: Mapping[str, str], night: Night, cloud: Cloud) -> Manifest:
    """An immutable one, called after its content: a night that runs keeps its own."""
    content = "".join(f"{key}\0{data[key]}\0" for key in sorted(data))
    mark = hashlib.blake2b(content.encode(), digest_size=4).hexdigest()
    head = resource("v1", "ConfigMap", f"{night.name}-{stem}-{mark}", night, cloud)
    return head | {"immutable": True, "data": dict(data)}


def recipe_map(night: Night, cloud: Cloud) -> Manifest:
    """The recipe, for the head of the cluster."""
    return config_map(
        "recipe", {"recipe.yaml": shipped_recipe(night.file, night.recipe)}, night, cloud
    )


def disruption_budget(night: Night, cloud: Cloud) -> Manifest:
    """A node is not drained under the head: the run would end with it. A worker may go."""
    head = resource("policy/v1", "PodDisruptionBudget", f"{night.name}-head", night, cloud)
    chosen = {pods.INSTANCE: night.name, pods.COMPONENT: "head"}
    return head | {"spec": {"minAvailable": 1, "selector": {"matchLabels": chosen}}}
