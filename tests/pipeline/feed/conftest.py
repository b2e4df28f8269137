"""A finished run in a sink, and plain shards with instance masks, once for all tests here."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.plan import RunPlan
from pipeline.geometry import rle_encode
from schemas.recipe import Source
from tests.jobs.sinks import finish, planned_run, weave
from tests.pipeline.shards import labels, painted, png, tar_of

BOXES = [(4, 5, 12, 13), (16, 8, 30, 20)]


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    """Twelve kept copies of six samples, in four chunks; two more copies failed."""
    planned = planned_run(tmp_path_factory.mktemp("feed"))
    weave(planned)
    finish(planned)
    return planned


@pytest.fixture(scope="session")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Five samples in two shards, of odd sizes, with boxes, instance masks and class-id maps."""
    folder = tmp_path_factory.mktemp("masked")
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
