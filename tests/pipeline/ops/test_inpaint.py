"""`inpaint`: which pixels each region may change, and what becomes of the labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.diffusion.native import NativeNet
from pipeline.op import Draw
from pipeline.ops import Inpaint
from pipeline.seeds import rng_for
from schemas.sample import Instances, Sample
from tests.models import tiny_denoiser


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> NativeNet:
    return tiny_denoiser(tmp_path_factory.mktemp("m"), ("cell",), ("back", "cell"))


def scene(boxes: list[list[float]]) -> Sample:
    """48x64 pixels of noise, with a class-id map that holds the boxes, and an ignored corner."""
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    ids = np.zeros((48, 64), np.uint8)
    for x0, y0, x1, y1 in np.array(boxes, int).reshape(-1, 4):
        ids[y0:y1, x0:x1] = 1
    ids[:2, :2] = 255
    instances = Instances(np.array(boxes, float).reshape(-1, 4), ("cell",) * len(boxes))
    return Sample("k", image, instances, ids)


APART = [[4.0, 6, 14, 16], [30, 8, 44, 20], [20, 30, 32, 44]]


def made(op: Inpaint, sample: Sample, model: NativeNet, copy: int = 0) -> tuple[Sample, Draw]:
    draw = op.draw(sample, rng_for(1, sample.key, copy, "inpaint#0"), {})
    assert draw is not None
    (out,) = op.apply([sample], [draw], {"m": model}, {})
    assert isinstance(out, Sample)
    return out, draw


def changed(a: Sample, b: Sample) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray((a.image_hwc != b.image_hwc).any(axis=2))


def box_of(box: list[float], margin: int) -> np.ndarray:  # type: ignore[type-arg]
    region = np.zeros((48, 64), bool)
    x0, y0, x1, y1 = (int(v) for v in box)
    region[max(y0 - margin, 0) : y1 + margin, max(x0 - margin, 0) : x1 + margin] = True
    return region


def test_removing_takes_the_object_its_box_and_its_class_ids_and_nothing_else(
    model: NativeNet,
) -> None:
    sample = scene(APART)
    out, draw = made(
        Inpaint(model="m", region="remove", steps=2, objects=0.3, margin=2), sample, model
    )
    (gone,) = draw["objects"]
    region = box_of(APART[gone], 2)
    assert out.objects.boxes_n4.tolist() == [box for i, box in enumerate(APART) if i != gone]
    assert changed(sample, out)[region].mean() > 0.8
    assert not changed(sample, out)[~region].any()
    assert sample.class_map_hw is not None and out.class_map_hw is not None
    assert (out.class_map_hw[region] == 0).all()
    assert (out.class_map_hw[~region] == sample.class_map_hw[~region]).all()


def test_only_objects_that_no_other_covers_are_removed(model: NativeNet) -> None:
    crowded = scene([[4.0, 6, 14, 16], [10, 8, 24, 20]])
    op = Inpaint(model="m", region="remove", steps=1)
    assert op.draw(crowded, rng_for(1, "k", 0, "x"), {}) is None
    mixed = scene([[4.0, 6, 14, 16], [10, 8, 24, 20], [40, 30, 50, 40]])
    for copy in range(5):
        draw = op.draw(mixed, rng_for(1, "k", copy, "x"), {})
        assert draw is not None and draw["objects"] == [2]


def test_nothing_of_a_removed_object_shows_through_at_any_strength(model: NativeNet) -> None:
    op = Inpaint(model="m", region="remove", steps=2, strength=0.3, margin=3)
    sample = scene([APART[0]])
    other = scene([APART[0]])
    other.image_hwc[6:16, 4:14] = 255 - other.image_hwc[6:16, 4:14]
    draw = op.draw(sample, rng_for(1, "k", 0, "x"), {})
    assert draw is not None
    filled = [op._wanted(each, draw, op._mask(each, draw)).image_hwc for each in (sample, other)]
    assert np.array_equal(*filled)


def test_redrawing_changes_the_object_and_keeps_every_label(model: NativeNet) -> None:
    sample = scene(APART)
    out, draw = made(
        Inpaint(model="m", region="redraw", steps=2, objects=1.0, margin=0), sample, model
    )
    assert draw["objects"] == [0, 1, 2]
    region = np.logical_or.reduce([box_of(box, 0) for box in APART])
    assert changed(sample, out)[region].mean() > 0.8
    assert not changed(sample, out)[~region].any()
    assert out.objects.boxes_n4.tolist() == APART
    assert out.class_map_hw is sample.class_map_hw


def test_a_redrawn_object_leaves_its_neighbour_alone(model: NativeNet) -> None:
    sample = scene([[4.0, 6, 24, 26], [20, 6, 40, 26]])
    out, draw = made(
        Inpaint(model="m", region="redraw", steps=2, objects=0.1, margin=2), sample, model
    )
    (chosen,) = draw["objects"]
    neighbour = box_of([[4.0, 6, 24, 26], [20, 6, 40, 26]][1 - chosen], 0)
    assert not changed(sample, out)[neighbour].any()


def test_a_new_background_touches_no_object_nor_its_margin(model: NativeNet) -> None:
    sample = scene(APART)
    out, _ = made(Inpaint(model="m", region="background", steps=2, margin=2), sample, model)
    objects = np.logical_or.reduce([box_of(box, 2) for box in APART])
    assert not changed(sample, out)[objects].any()
    assert changed(sample, out)[~objects].mean() > 0.8


def test_holes_cover_about_the_share_that_is_asked_for_and_stay_inside(model: NativeNet) -> None:
    sample = scene([])
    out, draw = made(Inpaint(model="m", region="regions", steps=2, area=0.25), sample, model)
    holes = np.zeros((48, 64), bool)
    for x0, y0, x1, y1 in draw["holes"]:
        assert 0 <= x0 < x1 <= 64 and 0 <= y0 < y1 <= 48
        holes[y0:y1, x0:x1] = True
    assert 0.25 <= holes.mean() < 0.25 + 1 / 16
    assert not changed(sample, out)[~holes].any()


@pytest.mark.parametrize("region", ["remove", "redraw"])
def test_an_image_without_objects_has_nothing_to_do(region: str, model: NativeNet) -> None:
    op = Inpaint.model_validate({"model": "m", "region": region})
    assert op.draw(scene([]), rng_for(1, "k", 0, "x"), {}) is None


def test_instance_masks_rule_where_there_are_any(model: NativeNet, tmp_path: Path) -> None:
    mask = np.zeros((1, 48, 64), bool)
    mask[0, 20:30, 20:25] = True
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    instances = Instances(np.array([[20.0, 20, 25, 30]]), ("cell",), mask)
    sample = Sample("k", image, instances, np.zeros((48, 64), np.uint8))
    out, _ = made(
        Inpaint(model="m", region="redraw", steps=2, objects=1.0, margin=0), sample, model
    )
    assert not changed(sample, out)[~mask[0]].any()
    assert changed(sample, out)[mask[0]].mean() > 0.8
