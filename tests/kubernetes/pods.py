"""Every pod of a manifest, and what in it breaks our rules for pods."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

API = "/var/run/secrets/kubernetes.io/serviceaccount"
TALKERS = ("starter", "autoscaler")
"""The containers that talk to the API server."""


def pods(value: Any) -> Iterator[dict[str, Any]]:
    """Every spec of a pod, wherever it is."""
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        for inner in value.values():
            yield from pods(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pods(inner)


def containers(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (*pod.get("initContainers", ()), *pod["containers"])


def broken_rules(manifest: dict[str, Any]) -> list[str]:
    """What breaks the standard `restricted`, or what we promise beyond it."""
    found = [broken for pod in pods(manifest) for broken in _pod(pod)]
    for options in _named(manifest, "autoscalerOptions"):
        found += _container({"name": "autoscaler", "image": None, **options})
    return found


def _pod(pod: dict[str, Any]) -> Iterator[str]:
    security = pod["securityContext"]
    if pod["automountServiceAccountToken"] is not False:
        yield "the token of its service account"
    if security["runAsNonRoot"] is not True or security["runAsUser"] == 0:
        yield "root"
    if any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        yield "the host's namespaces"
    allowed = {"emptyDir", "configMap", "projected", "persistentVolumeClaim"}
    for volume in pod["volumes"]:
        if not set(volume) - {"name"} <= allowed:
            yield f"volume {volume}"
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"volume {volume['name']} without a limit"
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in containers(pod):
        yield from _container(container)
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        yield from (f"no volume {name}" for name in mounted - volumes)


def _container(container: dict[str, Any]) -> Iterator[str]:
    name, security = container["name"], container["securityContext"]
    if security["allowPrivilegeEscalation"] is not False:
        yield f"{name}: a way up"
    if security["readOnlyRootFilesystem"] is not True:
        yield f"{name}: writes to its image"
    if security["capabilities"] != {"drop": ["ALL"]}:
        yield f"{name}: capabilities"
    if security["seccompProfile"] != {"type": "RuntimeDefault"}:
        yield f"{name}: seccomp"
    resources = container["resources"]
    if resources["requests"] != resources["limits"] or set(resources["limits"]) < {"cpu", "memory"}:
        yield f"{name}: no limits"
    if container["image"] is not None and not re.search(r"@sha256:\w{64}$", container["image"]):
        yield f"{name}: {container['image']} is no digest"
    if any(mount["mountPath"] == API for mount in container["volumeMounts"]) and (
        name not in TALKERS
    ):
        yield f"{name}: a token"
    for variable in container.get("env", ()):
        if re.search("SECRET|TOKEN|PASSWORD|KEY", variable["name"]) and "value" in variable:
            yield f"{name}: {variable['name']} is written out"


def _named(value: Any, name: str) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == name:
                yield inner
            yield from _named(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner, name)
