"""`noiseloom train detector`: a model folder with a card and a picture, from shards."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from jobs.training.detector import train_detector_job
from pipeline.detection.detector import load_detector
from schemas.errors import RecipeError
from tests.pipeline.shards import sample_files, tar_of

CONFIG = """
data: {{shards: {shard}, classes: [cell]}}
out: {out}
licence: CC0
net: {{stride: 8}}
schooling: {{steps: 2, batch: 2, crop: 32}}
"""


def start(folder: Path, config: str = CONFIG) -> str:
    shard = folder / "train.tar"
    shard.write_bytes(tar_of([file for i in range(3) for file in sample_files(f"s{i}")]))
    path = folder / "detector.yaml"
    path.write_text(config.format(shard=shard, out=folder / "cells" / "detector"))
    said = io.StringIO()
    train_detector_job(path, Console(file=said, width=150))
    return said.getvalue()


def test_a_training_leaves_a_detector_with_its_card_and_its_picture(tmp_path: Path) -> None:
    said = start(tmp_path)
    out = tmp_path / "cells" / "detector"
    detector = load_detector(out)
    assert detector.config.classes == ("cell",) and len(detector.config.thresholds) == 1
    card = (out / "README.md").read_text()
    for fact in ("# cells detector", "CC0", "2 of 2 crops of 32x32", "| cell |", "detections.png"):
        assert fact in card
    Image.open(out / "detections.png").load()
    assert "cell: AP" in said and "6 labels" in said


def test_a_detector_without_classes_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.classes"):
        start(tmp_path, CONFIG.replace(", classes: [cell]", ""))
