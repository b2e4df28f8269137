"""Pods with nothing but what they need: what Kubernetes' pod security standard `restricted` asks
for, and a read-only root besides.

No pod gets the token of a service account. The two containers that talk to the API server, Ray's
autoscaler and the night's starter, mount one of their own (`API_MOUNT`); the containers in which a
run's code works never see it. Secrets are references only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from jobs.scheduling.cloud import Cloud
from jobs.travel import MODELS

Manifest = dict[str, Any]
"""A piece of a manifest, as the API knows it."""

PART_OF: Final = "app.kubernetes.io/part-of"
INSTANCE: Final = "app.kubernetes.io/instance"
COMPONENT: Final = "app.kubernetes.io/component"
RECIPES: Final = "/etc/noiseloom/recipe"
API_FOLDER: Final = "/var/run/secrets/kubernetes.io/serviceaccount"

USER: Final = 10001
"""Whose processes these are, and whose files on the volumes: the user of `infra/container`."""

API_MOUNT: Final[Manifest] = {"name": "api", "mountPath": API_FOLDER, "readOnly": True}

API_VOLUME: Final[Manifest] = {
    "name": "api",
    "projected": {
        "defaultMode": 0o440,
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
            {
                "configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }
            },
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ],
    },
}
"""What a service account would get by itself, for one container of a pod instead of all."""


def labels(name: str, component: str) -> dict[str, str]:
    """Who a thing belongs to; the network policies of infra/kuberay go by them."""
    return {PART_OF: "noiseloom", INSTANCE: name, COMPONENT: component}


def container_security() -> Manifest:
    """No way up, and nothing to write to but the volumes."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def resources(cpu: str, memory: str, gpus: int = 0) -> Manifest:
    """As much as is asked for, and no more: a node that is full kills nobody."""
    asked = {"cpu": cpu, "memory": memory}
    if gpus:
        asked["nvidia.com/gpu"] = str(gpus)
    return {"requests": dict(asked), "limits": dict(asked)}


def environment() -> list[Manifest]:
    """Whoever asks for a home or a name (Triton, torch) gets them, also for a user without a line
    in /etc/passwd.
    """
    return [{"name": "HOME", "value": "/tmp"}, {"name": "USER", "value": "noiseloom"}]  # noqa: S108


def container(name: str, cloud: Cloud, needs: Manifest) -> Manifest:
    """A container that starts in /tmp; there and in the image's /cache it may write."""
    return {
        "name": name,
        "image": cloud.image,
        "imagePullPolicy": "IfNotPresent",  # a digest never changes
        "workingDir": "/tmp",  # noqa: S108 - an empty volume of this pod's own
        "env": environment(),
        "resources": needs,
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            {"name": "cache", "mountPath": "/cache"},
        ],
    }


def with_probes(plain: Manifest, *urls: str) -> Manifest:
    """The container, healthy while all of these answer; KubeRay's own probes need wget. Ray asks
    for no token there.
    """
    asked = "; ".join(f"ask('http://127.0.0.1:{url}', timeout=4)" for url in urls)
    code = f"from urllib.request import urlopen as ask; {asked}"
    probe = {"exec": {"command": ["python", "-c", code]}, "timeoutSeconds": 10}
    return plain | {
        "readinessProbe": probe | {"periodSeconds": 5, "failureThreshold": 10},
        # A busy node is slow to answer: one that is silent for six minutes is lost.
        "livenessProbe": probe
        | {"initialDelaySeconds": 30, "periodSeconds": 15, "failureThreshold": 24},
    }


def with_secrets(plain: Manifest, cloud: Cloud) -> Manifest:
    """The container, with the variables of every secret."""
    if not cloud.secrets:
        return plain
    references = [{"secretRef": {"name": name, "optional": False}} for name in cloud.secrets]
    return plain | {"envFrom": references}


def with_models(plain: Manifest, write: bool = False) -> Manifest:
    """The container, with the volume of models, and the cache of repositories on it."""
    cache = [{"name": "HF_HOME", "value": f"{MODELS}/huggingface"}]
    if not write:
        cache.append({"name": "HF_HUB_OFFLINE", "value": "1"})
    mount = {"name": "models", "mountPath": MODELS, "readOnly": not write}
    return plain | {
        "env": [*plain["env"], *cache],
        "volumeMounts": [*plain["volumeMounts"], mount],
    }


def with_mounts(plain: Manifest, mounts: Sequence[Manifest]) -> Manifest:
    """The container, with more volumes."""
    return plain | {"volumeMounts": [*plain["volumeMounts"], *mounts]}


def pod(containers: Sequence[Manifest], volumes: Sequence[Manifest]) -> Manifest:
    """The spec of a pod, with folders of its own for what it writes."""
    own = [
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Gi"}},
        {"name": "cache", "emptyDir": {"sizeLimit": "16Gi"}},
    ]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": list(containers),
        "volumes": [*own, *volumes],
    }


def claim(name: str, read_only: bool) -> Manifest:
    """The volume of models."""
    return {
        "name": "models",
        "persistentVolumeClaim": {"claimName": name, "readOnly": read_only},
    }
