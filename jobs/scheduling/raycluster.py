"""RayCluster and RayJob, out of a recipe's resources.

There is a group of workers for each kind of pool that the recipe has (`jobs.scheduling.sizes`).
There are none at first: Ray's autoscaler starts them when the run asks, up to the pool's largest
size, and ends them when they idle. So a night with nothing new never starts a GPU. The head does no
work of the pipeline.
"""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import Final

from jobs.cluster.api import job_metadata
from jobs.lift.files import recipes_of
from jobs.scheduling import pods
from jobs.scheduling.cloud import Cloud
from jobs.scheduling.manifests import Folder, yaml_of
from jobs.scheduling.night import Night
from jobs.scheduling.pods import Manifest
from jobs.scheduling.sizes import actors, any_gpus, pools_of, size
from schemas.pools import PoolSpec

IDLE_S: Final = 120
"""A worker without work ends after so long."""

CLUSTER_TTL_S: Final = 60
"""The cluster goes so long after the run has ended, and its logs with it; the driver's stay."""

_AGENT: Final = {"dashboard-agent-listen-port": "52365"}
_RAYLET: Final = "52365/api/local_raylet_healthz"
_GCS: Final = "8265/api/gcs_healthz"

HEAD: Final = pods.resources("2", "8Gi")
_SMALL: Final = pods.resources("500m", "1Gi")


def rayjob(night: Night, cloud: Cloud, recipe: Folder) -> Manifest:
    """The spec of a RayJob. Whoever submits it hands Ray the recipe's folder, and every process of
    the job works in that, as `noiseloom submit` has it.
    """
    return {
        "entrypoint": f"noiseloom run {recipe.package.name}",
        "runtimeEnvYAML": yaml_of({"working_dir": pods.RECIPES}),
        "metadata": job_metadata(night.file.stem, night.recipe),
        "submissionMode": "K8sJobMode",
        "submitterConfig": {"backoffLimit": 2},
        "submitterPodTemplate": _submitter(night, cloud, recipe),
        "activeDeadlineSeconds": night.deadline_s,
        "backoffLimit": night.retries,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": CLUSTER_TTL_S,
        "rayClusterSpec": raycluster(night, cloud, recipe),
    }


def raycluster(night: Night, cloud: Cloud, recipe: Folder | None = None) -> Manifest:
    """The spec of a RayCluster; without a recipe, one to submit to."""
    return {
        "rayVersion": version("ray"),
        "authOptions": {"mode": "token"},
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "version": "v2",
            "upscalingMode": "Default",
            "idleTimeoutSeconds": IDLE_S,
            "resources": _SMALL,
            "env": pods.environment(),
            "securityContext": pods.container_security(),
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, pods.API_MOUNT],  # noqa: S108
        },
        "headGroupSpec": {
            "rayStartParams": _AGENT | {"dashboard-host": "0.0.0.0", "num-cpus": "0"},  # noqa: S104
            "template": _head(night, cloud, recipe),
        },
        "workerGroupSpecs": _groups(night, cloud),
    }


def _groups(night: Night, cloud: Cloud) -> list[Manifest]:
    """A group for each kind of pool, on demand and spot where the cloud has both."""
    pools = pools_of(night, cloud)
    return [
        _group(night, cloud, pool, name, spot)
        for kind, pool in pools.items()
        for name, spot in _kinds(kind, cloud)
    ]


def _kinds(kind: str, cloud: Cloud) -> list[tuple[str, bool]]:
    return (
        [(kind, False)]
        if cloud.spot is None
        else [(f"{kind}-on-demand", False), (f"{kind}-spot", True)]
    )


def _group(night: Night, cloud: Cloud, pool: PoolSpec, name: str, spot: bool) -> Manifest:
    group: Manifest = {
        "groupName": name,
        "replicas": 0,
        "minReplicas": 0,
        "maxReplicas": math.ceil(pool.pool[1] / actors(pool)),
        "rayStartParams": _AGENT | _declared(pool),
        "template": _worker(night, cloud, pool, spot),
    }
    return group | ({"labels": dict(pool.labels)} if pool.labels else {})


def _declared(pool: PoolSpec) -> dict[str, str]:
    """What the autoscaler must know of a worker before there is one."""
    if pool.accelerator is None:
        return {}
    return {"resources": f'"{{\\"accelerator_type:{pool.accelerator}\\": 1}}"'}


def _template(night: Night, component: str, spec: Manifest) -> Manifest:
    return {"metadata": {"labels": pods.labels(night.name, component)}, "spec": spec}


def _head(night: Night, cloud: Cloud, recipe: Folder | None) -> Manifest:
    plain = pods.with_probes(pods.container("ray-head", cloud, HEAD), _RAYLET, _GCS)
    ray = pods.with_secrets(plain, cloud)
    ray |= {
        "ports": [
            {"name": "gcs-server", "containerPort": 6379},
            {"name": "dashboard", "containerPort": 8265},
            {"name": "metrics", "containerPort": 8080},
        ]
    }
    volumes = [_shared_memory("3Gi"), pods.API_VOLUME]
    ray = pods.with_mounts(ray, [_SHARED_MOUNT])
    fetched = recipe if recipe is not None and recipe.package.fetches else None
    if _has_models(night):
        ray = pods.with_models(ray)
        volumes.append(pods.claim(cloud.models_claim, read_only=fetched is None))
    if fetched is not None:
        volumes.append(fetched.volume)
    spec = pods.pod([ray], volumes) | _head_place(cloud)
    if fetched is not None:
        spec["initContainers"] = [_fetcher(cloud, fetched)]
    return _template(night, "head", spec)


def _has_models(night: Night) -> bool:
    return any(recipe.models for recipe in recipes_of(night.recipe))


def _fetcher(cloud: Cloud, recipe: Folder) -> Manifest:
    """What is in the cache already is not downloaded again."""
    plain = pods.container("fetch-models", cloud, pods.resources("1", "4Gi"))
    whole = pods.with_mounts(pods.with_secrets(plain, cloud), [recipe.mount])
    command = ["noiseloom", "models", "fetch", recipe.package.name]
    return pods.with_models(whole, True) | {"command": command, "workingDir": pods.RECIPES}


def _worker(night: Night, cloud: Cloud, pool: PoolSpec, spot: bool) -> Manifest:
    cpus, gpus, mebibytes = size(pool, cloud)
    needs = pods.resources(str(cpus), f"{mebibytes}Mi", gpus)
    plain = pods.with_probes(pods.container("ray-worker", cloud, needs), _RAYLET)
    ray = pods.with_secrets(plain, cloud)
    ray = pods.with_mounts(ray, [_SHARED_MOUNT])
    ray["ports"] = [{"name": "metrics", "containerPort": 8080}]
    # Ray's object store takes 30 % of the memory; what it cannot have it would put on a disk.
    volumes = [_shared_memory(f"{mebibytes * 35 // 100}Mi")]
    if _has_models(night):
        ray = pods.with_models(ray)
        volumes.append(pods.claim(cloud.models_claim, read_only=True))
    chosen = cloud.nodes if gpus or not any_gpus(night) else None
    spec = pods.pod([ray], volumes) | _worker_place(cloud, chosen, gpus, spot)
    return _template(night, "worker", spec)


_SHARED_MOUNT: Final[Manifest] = {"name": "shared-mem", "mountPath": "/dev/shm"}  # noqa: S108


def _shared_memory(size: str) -> Manifest:
    return {"name": "shared-mem", "emptyDir": {"medium": "Memory", "sizeLimit": size}}


def _head_place(cloud: Cloud) -> Manifest:
    """Not on a node that may be taken away: the run would end with it."""
    if cloud.spot is None:
        return {}
    key, _, value = cloud.spot.partition("=")
    term = {"matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]}]}
    required = {"nodeSelectorTerms": [term]}
    affinity = {"requiredDuringSchedulingIgnoredDuringExecution": required}
    return {"affinity": {"nodeAffinity": affinity}}


def _worker_place(cloud: Cloud, nodes: str | None, gpus: int, spot: bool) -> Manifest:
    """`nodes`: the label of those that it may run on; None: any."""
    chosen: Manifest = {}
    tolerated: list[Manifest] = []
    if nodes is not None:
        key, _, value = nodes.partition("=")
        chosen[key] = value
    if gpus:
        tolerated.append({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"})
    if spot and cloud.spot is not None:
        key, _, value = cloud.spot.partition("=")
        chosen[key] = value
        same = {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}
        tolerated.append(same)
    place: Manifest = {} if spot else _head_place(cloud)
    if chosen:
        place["nodeSelector"] = chosen
    if tolerated:
        place["tolerations"] = tolerated
    return place


def _submitter(night: Night, cloud: Cloud, recipe: Folder) -> Manifest:
    """The pod that KubeRay hands the job in with, and its folder; its log is the driver's."""
    plain = pods.container("ray-job-submitter", cloud, _SMALL)
    spec = pods.pod([pods.with_mounts(plain, [recipe.mount])], [recipe.volume])
    spec |= {"restartPolicy": "Never"}
    return _template(night, "submitter", spec)
