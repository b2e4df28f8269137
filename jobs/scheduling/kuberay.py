"""A RayCronJob: KubeRay's own schedule (alpha, KubeRay 1.6, feature gate RayCronJob).

It has no concurrency policy. Two nights are kept apart by time alone: a night with all its attempts
must be over before the next begins, and what could take longer is refused. It keeps every RayJob
that it made; rules of deletion end that (feature gate RayJobDeletionPolicy, on by default in 1.6).
"""

from __future__ import annotations

from typing import Final

from jobs.scheduling.cloud import Cloud
from jobs.scheduling.manifests import Folder, disruption_budget, files_of, recipe_folder, resource
from jobs.scheduling.night import Files, Night, duration_of
from jobs.scheduling.pods import Manifest
from jobs.scheduling.raycluster import CLUSTER_TTL_S, rayjob
from schemas.errors import RecipeError

KEPT_S: Final = {"SUCCEEDED": 3 * 86400, "FAILED": 7 * 86400}
"""How long a night that went well, or did not, can be looked at."""

NOTE: Final = """\
# RayCronJob is alpha: KubeRay 1.6 or newer, its operator started with
#   --feature-gates=RayCronJob=true
# (helm: featureGates). Without it this is accepted, and nothing ever runs.
"""


def render_kuberay(night: Night, cloud: Cloud) -> Files:
    """The recipe, the RayCronJob, and a disruption budget."""
    recipe = recipe_folder(night, cloud)
    _check_apart(night)
    files = files_of(
        {
            "recipe.yaml": recipe.manifest,
            "disruption-budget.yaml": disruption_budget(night, cloud),
            "raycronjob.yaml": raycronjob(night, cloud, recipe),
        },
        cloud,
    )
    files["raycronjob.yaml"] = NOTE + files["raycronjob.yaml"]
    return files


def raycronjob(night: Night, cloud: Cloud, recipe: Folder) -> Manifest:
    """The RayCronJob."""
    job = rayjob(night, cloud, recipe)
    for name in ("shutdownAfterJobFinishes", "ttlSecondsAfterFinished"):
        job.pop(name)  # KubeRay refuses them beside rules of deletion
    job["deletionStrategy"] = {"deletionRules": _deletion_rules()}
    head = resource("ray.io/v1", "RayCronJob", night.name, night, cloud)
    schedule = {"schedule": night.cron.text, "timeZone": night.timezone, "suspend": False}
    return head | {"spec": schedule | {"jobTemplate": job}}


def _deletion_rules() -> list[Manifest]:
    # A night past its deadline has no status of its own as a job, only as a deployment.
    conditions = [
        ({"jobStatus": "SUCCEEDED"}, KEPT_S["SUCCEEDED"]),
        ({"jobStatus": "FAILED"}, KEPT_S["FAILED"]),
        ({"jobDeploymentStatus": "Failed"}, KEPT_S["FAILED"]),
    ]
    return [
        {"policy": policy, "condition": {**condition, "ttlSeconds": seconds}}
        for condition, kept in conditions
        for policy, seconds in (("DeleteCluster", CLUSTER_TTL_S), ("DeleteSelf", kept))
    ]


def _check_apart(night: Night) -> None:
    gap = night.cron.shortest_gap_s()
    if night.longest_s >= gap:
        raise RecipeError(
            f"--deadline {duration_of(night.deadline_s)}: with {night.retries} retries a night may "
            f"take {night.longest_s // 60} minutes, the next begins after {gap // 60}, and a "
            "RayCronJob does not keep them apart; shorten it, or take --to kubernetes"
        )
