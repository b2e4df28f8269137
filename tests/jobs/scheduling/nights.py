"""Recipes and nights for the tests of scheduling."""

from __future__ import annotations

from pathlib import Path

from jobs.scheduling.cloud import Cloud
from jobs.scheduling.night import Night, make_night

IMAGE = f"registry.example.com/noiseloom@sha256:{'5a' * 32}"

REVISION = "71153311d3dbb46851df1931d3ca6e939de83304"

RECIPE = f"""\
source:
  shards: s3://lab/cells/train-{{000000..000003}}.tar
  classes: [RBC]
sink: s3://lab/cells-woven
ops:
  - {{kind: noise_denoise, model: turbo, strength: [0.2, 0.5], steps: 4, prompt: "cells"}}
models:
  turbo:
    diffusers: stabilityai/sdxl-turbo
    revision: {REVISION}
resources: {{gpus: 0.5, cpus: 2, pool: [1, 9]}}
tracking: {{uri: "https://mlflow.example.com"}}
"""


def recipe_file(folder: Path, old: str = "", new: str = "", name: str = "cells.yaml") -> Path:
    assert old in RECIPE
    file = folder / name
    file.write_text(RECIPE.replace(old, new) if old else RECIPE)
    return file


def night(file: Path, cron: str = "0 2 * * *", deadline: str = "6h", retries: int = 2) -> Night:
    return make_night(file, cron, "Europe/Berlin", deadline, retries)


def cloud(**given: object) -> Cloud:
    return Cloud(image=IMAGE, **given)  # type: ignore[arg-type]
