"""Painted discs as shards: bright on a textured ground, with boxes and a class-id map."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from schemas.recipe import Source
from schemas.sample import Instances, Sample
from tests.pipeline.shards import png, tar_of

SIDE = 48


def disc_sample(number: int, shuffled: bool = False) -> Sample:
    """One to three discs. `shuffled`: the labels are those of another image."""
    image, _, _ = _paint(number)
    _, boxes, ids = _paint(number + 5000 if shuffled else number)
    return Sample(f"d{number}", image, Instances(boxes, ("disc",) * len(boxes)), ids)


def _paint(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(number)
    image = rng.integers(40, 80, (SIDE, SIDE, 3), dtype=np.uint8)
    ids = np.zeros((SIDE, SIDE), np.uint8)
    boxes = []
    for _ in range(int(rng.integers(1, 4))):
        radius = int(rng.integers(5, 9))
        x, y = (int(v) for v in rng.integers(radius, SIDE - radius, 2))
        cv2.circle(image, (x, y), radius, (170, 170, 170), -1)
        cv2.circle(ids, (x, y), radius, 1, -1)
        boxes.append((x - radius, y - radius, x + radius + 1, y + radius + 1))
    return image, np.array(boxes, float), ids


def write_discs(path: Path, numbers: range, shuffled: bool = False) -> Path:
    """A shard of them."""
    path.write_bytes(tar_of([f for n in numbers for f in _files(disc_sample(n, shuffled))]))
    return path


def _files(sample: Sample) -> list[tuple[str, bytes]]:
    objects = sample.objects
    record = {
        "width": SIDE,
        "height": SIDE,
        "boxes": objects.boxes_n4.tolist(),
        "labels": list(objects.labels),
    }
    assert sample.class_map_hw is not None
    return [
        (f"{sample.key}.png", png(sample.rgb_hwc)),
        (f"{sample.key}.json", json.dumps(record).encode()),
        (f"{sample.key}.seg.png", png(sample.class_map_hw)),
    ]


def source(path: Path) -> Source:
    """What a configuration says of such a shard."""
    return Source(
        shards=(str(path),),
        segmentation="seg.png",
        classes=("disc",),
        seg_classes=("ground", "disc"),
    )
