"""A recipe that is published by a lift test, with two arms that have recipes of their own; and what
a pod sees of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.jobs.scheduling.test_clusters import of
from tests.kubernetes.volumes import mounted

LAYOUT = "segmentation: seg.png, classes: [disc], seg_classes: [ground, disc]"
LIFT = f"""\
data: {{shards: BUCKET/train.tar, {LAYOUT}}}
validation: {{shards: BUCKET/val.tar, {LAYOUT}}}
out: BUCKET/lift
images: 4
seeds: 2
student: {{kind: unet, widths: [8, 16], tone: linear}}
schooling: {{steps: 30, batch: 4, crop: 32, lr: 0.01, warmup: 5}}
baseline: flipped
scored: [disc]
resamples: 200
arms:
  flipped: {{recipe: lift/arms/flipped.yaml}}
  painted: {{recipe: lift/arms/painted.yaml}}
tracking: {{uri: null}}
"""
RECIPE = f"""\
source: {{shards: BUCKET/train.tar, {LAYOUT}}}
sink: BUCKET/woven
ops: [{{kind: classic, transforms: [{{HorizontalFlip: {{p: 0.5}}}}]}}]
publish: {{require: not_hurting, lift: lift/test.yaml}}
tracking: {{uri: null}}
"""
PAINTED = f"""\
source: {{shards: BUCKET/train.tar, {LAYOUT}}}
sink: out/never
ops:
- {{kind: noise_denoise, model: m, strength: 0.3, steps: 2, prompt: {{file: lift/zellen ä.txt}}}}
models: {{m: {{native: out/never}}}}
"""
FLIPPED = RECIPE.replace("BUCKET/woven", "out/never")


def write(folder: Path, bucket: str = "s3://lab", **other: str) -> Path:
    """The recipe, its lift test and their files; `other`: texts in place of those above."""
    texts = {"recipe": RECIPE, "test": LIFT, "flipped": FLIPPED, "painted": PAINTED} | other
    (folder / "lift/arms").mkdir(parents=True)
    (folder / "lift/zellen ä.txt").write_text("cells\n")
    (folder / "cells.yaml").write_text(texts["recipe"].replace("BUCKET", bucket))
    (folder / "lift/test.yaml").write_text(texts["test"].replace("BUCKET", bucket))
    for arm in ("flipped", "painted"):
        (folder / f"lift/arms/{arm}.yaml").write_text(texts[arm].replace("BUCKET", bucket))
    return Path("cells.yaml")


def job_of(files: dict[str, str]) -> dict[str, Any]:
    """The spec of the RayJob, whoever creates it."""
    if "raycronjob.yaml" in files:
        found: dict[str, Any] = of(files, "RayCronJob")["spec"]["jobTemplate"]
        return found
    spec: dict[str, Any] = of(files, "RayJob")["spec"]
    return spec


def volume_of(pod: dict[str, Any]) -> dict[str, Any]:
    return next(volume for volume in pod["volumes"] if volume["name"] == "recipe")


def in_pod(files: dict[str, str], folder: Path) -> Path:
    """What the pod that submits the night finds in the folder that it hands on."""
    job = job_of(files)
    pod = job["submitterPodTemplate"]["spec"]
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "recipe"]
    assert yaml.safe_load(job["runtimeEnvYAML"]) == {"working_dir": mount["mountPath"]}
    return mounted(yaml.safe_load(files["recipe.yaml"]), volume_of(pod), folder)
