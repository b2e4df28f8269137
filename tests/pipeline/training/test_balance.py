"""Class balancing: repeat factors as in LVIS, crops around rare objects, the same by number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.training.balance import Balance
from pipeline.training.crops import CropSet
from schemas.recipe import Source
from schemas.sample import Instances
from tests.pipeline.shards import labels, painted, png, tar_of


def test_images_are_drawn_by_the_root_of_how_rare_their_rarest_class_is() -> None:
    images = [frozenset({"a"})] * 9 + [frozenset({"a", "b"})]
    balance = Balance.of(images, 0.4)
    assert balance.factors == {"a": 1, "b": 2}, "b is in a tenth: sqrt(0.4 / 0.1)"
    rng = np.random.default_rng(0)
    drawn = np.bincount([balance.image(rng) for _ in range(4400)], minlength=10)
    assert drawn[9] / drawn[:9].mean() == pytest.approx(2, rel=0.2)


def test_without_balancing_images_are_alike_and_crops_lie_anywhere() -> None:
    balance = Balance.of([frozenset({"a"}), frozenset()], 0)
    rng = np.random.default_rng(0)
    assert balance.box(Instances(np.array([[0.0, 0, 4, 4]]), ("a",)), rng) is None
    assert {balance.image(rng) for _ in range(50)} == {0, 1}


def test_the_class_to_look_at_is_drawn_by_its_factor_not_by_its_count() -> None:
    balance = Balance.of([frozenset({"a"})] * 9 + [frozenset({"a", "b"})], 1.0)
    boxes = np.array([[i, i, i + 1.0, i + 1] for i in range(20)])
    objects = Instances(boxes, (*["a"] * 19, "b"))
    rng = np.random.default_rng(0)
    found = [balance.box(objects, rng) for _ in range(2000)]
    share = np.mean([box is not None and box[0] == 19 for box in found])
    factor = 10**0.5
    assert share == pytest.approx(factor / (1 + factor), abs=0.05)


@pytest.fixture
def rare(tmp_path: Path) -> Source:
    """Twelve images of 40 cells' room, one of them with a box in a corner."""
    files = []
    for i in range(12):
        boxes = [(120, 4, 126, 10)] if i == 7 else []
        files += [
            (f"{i:02d}.png", png(painted(128, 128, boxes))),
            (f"{i:02d}.json", labels(128, 128, boxes)),
        ]
    path = tmp_path / "rare.tar"
    path.write_bytes(tar_of(files))
    return Source(shards=(str(path),), classes=("cell",))


def test_balanced_crops_hold_the_rare_object_and_are_the_same_by_number(rare: Source) -> None:
    plain = CropSet(rare, 32, False, "linear", 0)
    balanced = [CropSet(rare, 32, False, "linear", 0, balance=1.0) for _ in range(2)]
    numbers = range(200)
    seen = [
        sum(len(crops.crop(k)[0].objects) > 0 for k in numbers) for crops in (plain, balanced[0])
    ]
    # a fourth of the draws fall on the image (factor sqrt(12) of 14.5), and all of those hold it
    assert seen[0] < 8
    assert 30 < seen[1] < 70
    backwards = [balanced[1].crop(k)[0] for k in reversed(range(20))][::-1]
    for k in range(20):
        assert (balanced[0].crop(k)[0].image_hwc == backwards[k].image_hwc).all()
    assert "cell x3.46" in str(balanced[0])
