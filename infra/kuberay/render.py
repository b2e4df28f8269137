"""Renders overlays/ out of recipes/, by the same code as `noiseloom schedule`.

    .venv/bin/python infra/kuberay/render.py

A test holds that what is committed is what this makes.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from jobs.scheduling.cloud import Cloud
from jobs.scheduling.kuberay import NOTE, raycronjob
from jobs.scheduling.manifests import disruption_budget, recipe_folder, resource, yaml_of
from jobs.scheduling.night import Files, Night, make_night
from jobs.scheduling.pods import Manifest
from jobs.scheduling.raycluster import raycluster, rayjob

HERE: Final = Path(__file__).parent
REPOSITORY: Final = "registry.example.com/noiseloom"
DIGEST: Final = f"sha256:{'0' * 64}"

CLOUDS: Final = {
    "cpu": Cloud(f"{REPOSITORY}@{DIGEST}", secrets=("noiseloom-stores",)),
    "gpu": Cloud(
        f"{REPOSITORY}@{DIGEST}",
        secrets=("noiseloom-stores",),
        nodes="cloud.google.com/gke-accelerator=nvidia-l4",
    ),
    "mixed": Cloud(
        f"{REPOSITORY}@{DIGEST}",
        secrets=("noiseloom-stores",),
        nodes="cloud.google.com/gke-accelerator=nvidia-l4",
        spot="cloud.google.com/gke-spot=true",
    ),
}


def rendered() -> Files:
    """Every file below overlays/."""
    files: Files = {}
    for kind, cloud in CLOUDS.items():
        night = make_night(
            HERE / "recipes" / f"{kind}.yaml", "0 2 * * *", "Europe/Berlin", "6h", retries=2
        )
        for variant, manifests in _variants(night, cloud).items():
            folder = f"{kind}/{variant}"
            for name, manifest in manifests.items():
                note = NOTE if name == "raycronjob.yaml" else ""
                files[f"{folder}/{name}"] = note + yaml_of(manifest)
            files[f"{folder}/kustomization.yaml"] = _kustomization(list(manifests), cloud)
    return files


def _variants(night: Night, cloud: Cloud) -> dict[str, dict[str, Manifest]]:
    recipe, budget = recipe_folder(night, cloud), disruption_budget(night, cloud)
    cluster = resource("ray.io/v1", "RayCluster", night.name, night, cloud)
    job = resource("ray.io/v1", "RayJob", night.name, night, cloud)
    ends = {"recipe.yaml": recipe.manifest, "disruption-budget.yaml": budget}
    return {
        "cluster": {
            "disruption-budget.yaml": budget,
            "raycluster.yaml": cluster | {"spec": raycluster(night, cloud)},
        },
        "job": {**ends, "rayjob.yaml": job | {"spec": rayjob(night, cloud, recipe)}},
        "cron": {**ends, "raycronjob.yaml": raycronjob(night, cloud, recipe)},
    }


def _kustomization(names: list[str], cloud: Cloud) -> str:
    image = {"name": REPOSITORY, "newName": REPOSITORY, "digest": DIGEST}
    return yaml_of(
        {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": cloud.namespace,
            "resources": ["../../../base", *names],
            "images": [image],
        }
    )


def main() -> None:
    """Writes them all, and removes what is no longer made."""
    shutil.rmtree(HERE / "overlays", ignore_errors=True)
    for name, text in rendered().items():
        path = HERE / "overlays" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
