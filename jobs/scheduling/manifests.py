"""Manifests as files: one resource a file, the same bytes for the same resource."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import yaml

from jobs.scheduling import pods
from jobs.scheduling.cloud import Cloud
from jobs.scheduling.night import Files, Night
from jobs.scheduling.pods import Manifest
from jobs.travel import Package, packed
from schemas.errors import RecipeError

LIMIT: Final = 2**20
"""Bytes of a ConfigMap."""

_RECIPE: Final = "recipe"


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


@dataclass(frozen=True)
class Folder:
    """A recipe and what travels with it, as a ConfigMap and as the volume that shows it with all
    its names and folders.
    """

    package: Package
    manifest: Manifest
    volume: Manifest

    @property
    def mount(self) -> Manifest:
        """Where a container finds it."""
        return {"name": self.volume["name"], "mountPath": pods.RECIPES, "readOnly": True}


def recipe_folder(night: Night, cloud: Cloud) -> Folder:
    """The night's; RecipeError where no pod could run it, or no ConfigMap holds it."""
    package = packed(night.file, night.recipe)
    texts = {path: package.files[path].read_bytes().decode() for path in sorted(package.files)}
    keys = {path: _key(i, path) for i, path in enumerate(texts, 1)}
    # The run is called after its file, so the file has the recipe's own name.
    items = {"recipe.yaml": package.name} | {key: path for path, key in keys.items()}
    data = {"recipe.yaml": package.text} | {keys[path]: text for path, text in texts.items()}
    _check_size(night, {items[key]: len(key) + len(data[key].encode()) for key in data})
    manifest = config_map(_RECIPE, data, night, cloud)
    shown = [{"key": key, "path": path} for key, path in items.items()]
    source = {"name": manifest["metadata"]["name"], "items": shown}
    return Folder(package, manifest, {"name": _RECIPE, "configMap": source})


def _key(number: int, path: str) -> str:
    """Keys have no folders, and no letters but ASCII's; the number keeps them apart."""
    return f"{number}-" + re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(path).name)[-200:]


def _check_size(night: Night, sizes: Mapping[str, int]) -> None:
    total = sum(sizes.values())
    if total > LIMIT:
        largest = sorted(sizes, key=lambda path: -sizes[path])[:3]
        named = ", ".join(f"{path} ({sizes[path] / 2**10:.0f} KiB)" for path in largest)
        raise RecipeError(
            f"{night.file}: what travels with it has {total / 2**10:.0f} KiB, and a ConfigMap "
            f"holds {LIMIT // 2**10}: {named}. Shorten the files of prompts, or leave arms out of "
            "the lift test"
        )


def disruption_budget(night: Night, cloud: Cloud) -> Manifest:
    """A node is not drained under the head: the run would end with it. A worker may go."""
    head = resource("policy/v1", "PodDisruptionBudget", f"{night.name}-head", night, cloud)
    chosen = {pods.INSTANCE: night.name, pods.COMPONENT: "head"}
    return head | {"spec": {"minAvailable": 1, "selector": {"matchLabels": chosen}}}
