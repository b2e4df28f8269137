"""Layouts: what is measured on the kin of a sample, and where that lets objects be."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.labels.geometry import iou
from pipeline.op import Peers
from pipeline.scene.layout import TILT, Kin, overlaps, place, scale_for, scene
from schemas.sample import Instances, Sample
from tests.pipeline.scenes import discs

SMALL = discs([(20, 20, 8, "a"), (60, 30, 8, "a"), (30, 70, 9, "a")], key="small")
LARGE = discs([(40, 40, 30, "a"), (90, 60, 28, "a")], key="large")


def boxes_only(boxes: list[list[float]], key: str = "boxes") -> Sample:
    image = np.zeros((100, 100, 3), np.uint8)
    instances = Instances(np.array(boxes, float).reshape(-1, 4), ("a",) * len(boxes))
    return Sample(key, image, instances, None)


def peers(*samples: Sample) -> Peers:
    return {sample.key: sample for sample in samples}


def test_images_at_another_magnification_lend_next_to_nothing() -> None:
    kin = Kin.of(SMALL, peers(SMALL, LARGE))
    assert kin.weights[0] == 1
    assert kin.weights[1] < 1e-4
    assert kin.limits()["a"].size[1] < 20


def test_samples_without_objects_lend_nothing_and_borrow_from_all() -> None:
    empty = discs([], key="empty")
    assert Kin.of(SMALL, peers(empty)).samples == ()
    assert Kin.of(empty, peers(empty, SMALL, LARGE)).weights.tolist() == [1, 1]


def test_what_stands_is_not_laid_down() -> None:
    standing = boxes_only([[10, 10, 20, 40], [40, 20, 52, 55], [70, 10, 79, 41]])
    both = boxes_only([[10, 10, 20, 40], [40, 20, 75, 32], [70, 50, 80, 79], [9, 70, 40, 80]])
    assert Kin.of(standing, peers(standing)).limits()["a"].turn == TILT
    assert Kin.of(both, peers(both)).limits()["a"].turn == 180


def test_a_size_stays_within_those_of_its_class() -> None:
    limits = Kin.of(SMALL, peers(SMALL)).limits()["a"]
    rng = np.random.default_rng(1)
    for size in (2.0, *scene(SMALL).size_n, 500.0):
        scaled = [size * scale_for(size, limits, rng) for _ in range(20)]
        assert limits.size[0] - 1e-6 <= min(scaled) <= max(scaled) <= limits.size[1] + 1e-6


def test_objects_are_put_where_their_class_is() -> None:
    left = boxes_only([[5, y, 17, y + 12] for y in (4, 30, 55, 80)])
    limits = Kin.of(left, peers(left)).limits()["a"]
    rng = np.random.default_rng(1)
    sides, none = np.array([12.0, 12.0]), np.zeros((0, 4))
    found = [place(limits, sides, (100, 100), none, rng, lambda x, y: 0.0) for _ in range(50)]
    assert all(at is not None and at[0] < 55 for at in found)
    assert {at[1] > 50 for at in found if at is not None} == {True, False}


@pytest.mark.parametrize("step", [14.0, 8.0], ids=["apart", "overlapping"])
def test_new_objects_overlap_as_those_of_the_data(step: float) -> None:
    rows = [[10 + i * step, y, 22 + i * step, y + 12] for i in range(6) for y in (10, 40, 70)]
    source = boxes_only(rows)
    usual = float(np.mean(scene(source).overlap_n))
    limits = Kin.of(source, peers(source)).limits()["a"]
    rng = np.random.default_rng(1)
    there, sides = source.objects.boxes_n4, np.array([12.0, 12.0])
    shares = []
    for _ in range(30):
        at = place(limits, sides, (100, 100), there, rng, lambda x, y: 0.0)
        assert at is not None
        box = np.array([[at[0] - 6, at[1] - 6, at[0] + 6, at[1] + 6]])
        shares.append(float(overlaps(box, there).max()))
    assert np.mean(shares) == pytest.approx(usual, abs=0.08)


def test_where_nothing_fits_nothing_is_placed() -> None:
    limits = Kin.of(SMALL, peers(SMALL)).limits()["a"]
    rng, none = np.random.default_rng(1), np.zeros((0, 4))
    assert place(limits, np.ones(2) * 9, (96, 128), none, rng, lambda x, y: np.inf) is None


def test_overlap_is_a_share_of_the_smaller_box() -> None:
    a, b = np.array([[0, 0, 10, 10.0]]), np.array([[5, 5, 45, 45.0]])
    assert overlaps(a, b)[0, 0] == pytest.approx(0.25)
    assert iou(a, b)[0, 0] < 0.02
