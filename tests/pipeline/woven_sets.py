"""Training sets for tests: a finished run in a sink, and plain shards with masks of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.labels.geometry import rle_encode
from schemas.recipe import Source
from tests.pipeline.shards import labels, painted, png, tar_of

BOXES = [(4, 5, 12, 13), (16, 8, 30, 20)]


def write_masked(folder: Path) -> Source:
    """Five samples in two shards, of odd sizes, with boxes, instance masks and class-id maps."""
    for shard, numbers in enumerate(((0, 1, 2), (3, 4))):
        files = [file for n in numbers for file in masked_files(f"m{n}", 24 + n, 33 + 2 * n)]
        (folder / f"train-{shard}.tar").write_bytes(tar_of(files))
    return Source(
        shards=(f"{folder}/train-*.tar",),
        segmentation="seg.png",
        classes=("cell",),
        seg_classes=("background", "cell"),
    )


def masked_files(key: str, height: int, width: int) -> list[tuple[str, bytes]]:
    """One sample: a bright rectangle under each mask; the first row is unlabelled in the map."""
    masks = np.zeros((len(BOXES), height, width), np.bool_)
    for mask, (x0, y0, x1, y1) in zip(masks, BOXES, strict=True):
        mask[y0:y1, x0:x1] = True
    runs = [{"size": [height, width], "counts": rle_encode(mask)} for mask in masks]
    ids = masks.any(axis=0).astype(np.uint8)
    ids[0] = 255
    return [
        (f"{key}.png", png(painted(height, width, BOXES))),
        (f"{key}.json", labels(height, width, BOXES, masks=runs)),
        (f"{key}.seg.png", png(ids)),
    ]
