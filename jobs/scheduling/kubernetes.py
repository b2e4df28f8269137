"""A CronJob that creates the night's RayJob, and waits for its end.

Two nights never overlap: the RayJob has one name, so the API server holds at most one, and the
CronJob forbids a second starter. The starter (`starter.py`, in our own image) ends as the night
does, so that a failed night is a failed Job, which every monitoring knows; KubeRay makes the
retries. Its account may create RayJobs, and read and delete the one of this name.
"""

from __future__ import annotations

import json
from typing import Final

from jobs.scheduling import pods
from jobs.scheduling.cloud import Cloud
from jobs.scheduling.manifests import (
    config_map,
    disruption_budget,
    files_of,
    recipe_folder,
    resource,
)
from jobs.scheduling.night import Files, Night
from jobs.scheduling.pods import Manifest
from jobs.scheduling.raycluster import rayjob
from jobs.scheduling.starter import FOLDER, MANIFEST, NIGHT, NIGHT_FAILED

GRACE_S: Final = 1800
"""For clusters that come and go between attempts, beyond the night's own deadlines."""

LATE_S: Final = 3600
"""A night that could not start within this time is left to the next."""

KEPT: Final = {"successful": 3, "failed": 7}
"""Jobs that are kept to look at."""


def render_kubernetes(night: Night, cloud: Cloud) -> Files:
    """The recipe, the RayJob to create, who may create it, when, and a disruption budget."""
    recipe = recipe_folder(night, cloud)
    job = resource("ray.io/v1", "RayJob", night.name, night, cloud)
    job["spec"] = rayjob(night, cloud, recipe)
    manifest = json.dumps(job, indent=1) + "\n"
    template = config_map("rayjob", {MANIFEST: manifest}, night, cloud)
    return files_of(
        {
            "recipe.yaml": recipe.manifest,
            "rayjob.yaml": template,
            "service-account.yaml": _account(night, cloud),
            "role.yaml": _role(night, cloud),
            "role-binding.yaml": _binding(night, cloud),
            "disruption-budget.yaml": disruption_budget(night, cloud),
            "cronjob.yaml": _cronjob(night, cloud, template["metadata"]["name"]),
        },
        cloud,
    )


def _starter_name(night: Night) -> str:
    return f"{night.name}-starter"


def _account(night: Night, cloud: Cloud) -> Manifest:
    head = resource("v1", "ServiceAccount", _starter_name(night), night, cloud)
    return head | {"automountServiceAccountToken": False}


def _role(night: Night, cloud: Cloud) -> Manifest:
    api = "rbac.authorization.k8s.io/v1"
    kind = {"apiGroups": ["ray.io"], "resources": ["rayjobs"]}
    return resource(api, "Role", _starter_name(night), night, cloud) | {
        "rules": [
            kind | {"verbs": ["create"]},  # by name, creating cannot be granted
            kind | {"resourceNames": [night.name], "verbs": ["get", "delete"]},
        ]
    }


def _binding(night: Night, cloud: Cloud) -> Manifest:
    name, group = _starter_name(night), "rbac.authorization.k8s.io"
    head = resource(f"{group}/v1", "RoleBinding", name, night, cloud)
    subject = {"kind": "ServiceAccount", "name": name, "namespace": cloud.namespace}
    role = {"apiGroup": group, "kind": "Role", "name": name}
    return head | {"subjects": [subject], "roleRef": role}


def _cronjob(night: Night, cloud: Cloud, template: str) -> Manifest:
    return resource("batch/v1", "CronJob", night.name, night, cloud) | {
        "spec": {
            "schedule": night.cron.text,
            "timeZone": night.timezone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": LATE_S,
            "successfulJobsHistoryLimit": KEPT["successful"],
            "failedJobsHistoryLimit": KEPT["failed"],
            "suspend": False,
            "jobTemplate": {"spec": _job(night, cloud, template)},
        }
    }


def _job(night: Night, cloud: Cloud, template: str) -> Manifest:
    # A starter that lost the API server or its node is started again, and finds the night's RayJob.
    rules = [
        {
            "action": "FailJob",
            "onExitCodes": {
                "containerName": "starter",
                "operator": "In",
                "values": [NIGHT_FAILED],
            },
        },
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    return {
        "backoffLimit": 3,
        "activeDeadlineSeconds": night.longest_s + GRACE_S,
        "podFailurePolicy": {"rules": rules},
        "template": {
            "metadata": {"labels": pods.labels(night.name, "starter")},
            "spec": _starter(night, cloud, template),
        },
    }


def _starter(night: Night, cloud: Cloud, template: str) -> Manifest:
    plain = pods.container("starter", cloud, pods.resources("100m", "256Mi"))
    plain["command"] = ["python", "-m", "jobs.scheduling.starter"]
    job_name = {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-name']"}}
    plain["env"] = [*plain["env"], {"name": NIGHT, "valueFrom": job_name}]
    mount = {"name": "rayjob", "mountPath": FOLDER, "readOnly": True}
    volumes = [{"name": "rayjob", "configMap": {"name": template}}, pods.API_VOLUME]
    spec = pods.pod([pods.with_mounts(plain, [mount, pods.API_MOUNT])], volumes)
    return spec | {"serviceAccountName": _starter_name(night), "restartPolicy": "Never"}
