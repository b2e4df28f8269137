"""A tiny detector learns painted objects; the same seed gives the same detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.detection.agreement import matched, pick_thresholds
from pipeline.detection.config import Schooling
from pipeline.detection.crops import DetectorCrops
from pipeline.detection.detector import Detector, load_detector
from pipeline.detection.mean_ap import mean_ap
from pipeline.detection.network import DetectorConfig
from pipeline.detection.training import train_detector
from pipeline.labels.geometry import touched
from pipeline.model import Detections
from pipeline.model import Detector as ProtocolDetector
from schemas.errors import ModelError
from schemas.sample import Instances, Sample
from tests.pipeline.detection.painted import CLASSES, painted_sample

TINY = DetectorConfig(classes=CLASSES, stride=8, widths=(16, 24, 32, 32), head_convs=1)
SCHOOLING = Schooling(steps=150, batch=4, crop=64, warmup=10, lr=4e-3)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def taught() -> Detector:
    return train_detector([painted_sample(k) for k in range(64)], TINY, SCHOOLING)


@pytest.fixture(scope="module")
def unseen() -> list[Sample]:
    return [painted_sample(k) for k in range(1000, 1024)]


def as_found(sample: Sample, shift: float = 0.0) -> Detections:
    """The labels themselves as detections."""
    n = len(sample.objects)
    return Detections(sample.objects.boxes_n4 + shift, np.full(n, 0.9), sample.objects.labels)


def test_it_finds_objects_that_it_never_saw(taught: Detector, unseen: list[Sample]) -> None:
    scores = mean_ap(unseen, taught.detect([s.rgb_hwc for s in unseen]), CLASSES)
    assert set(scores.classes) == set(CLASSES)
    assert min(score.ap50 for score in scores.classes.values()) > 0.8


def test_boxes_are_in_pixels_of_the_image_also_where_it_looks_at_a_larger_one(
    taught: Detector, unseen: list[Sample]
) -> None:
    doubled = Detector(TINY.model_copy(update={"scale": 2.0}), taught._net, "twice")
    small = [sample.rgb_hwc[::2, ::2] for sample in unseen]
    halves = [
        Sample(s.key, x, Instances(s.objects.boxes_n4 / 2, s.objects.labels), None)
        for s, x in zip(unseen, small, strict=True)
    ]
    assert mean_ap(halves, doubled.detect(small), CLASSES).ap50 > 0.7


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    samples = [painted_sample(k) for k in range(6)]

    def weights(seed: int) -> torch.Tensor:
        schooling = SCHOOLING.model_copy(update={"steps": 3, "seed": seed})
        return torch.cat(
            [p.flatten() for p in train_detector(samples, TINY, schooling)._net.parameters()]
        )

    first = weights(1)
    torch.rand(5)  # the global generator is not what decides
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))


def test_training_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train_detector([painted_sample(0)], TINY, SCHOOLING.model_copy(update={"steps": 1}))
    assert torch.equal(torch.rand(1), expected)


def test_a_saved_detector_finds_the_same(
    taught: Detector, unseen: list[Sample], tmp_path: Path
) -> None:
    taught.save(tmp_path)
    again = load_detector(tmp_path)
    assert isinstance(again, ProtocolDetector) and len(again.digest) == 16
    images = [s.rgb_hwc for s in unseen]
    before, after = taught.detect(images), again.detect(images)
    scores = [mean_ap(unseen, found, CLASSES).ap for found in (before, after)]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)


def test_a_folder_of_another_kind_is_refused_by_name(taught: Detector, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        load_detector(tmp_path)
    taught.save(tmp_path)
    Detector(TINY.model_copy(update={"widths": (16, 24, 32)}), taught._net, "").save(tmp_path)
    with pytest.raises(ModelError, match="weights do not fit"):
        load_detector(tmp_path)
    (tmp_path / "config.json").write_text('{"does": "denoise"}')
    with pytest.raises(ModelError, match="config"):
        load_detector(tmp_path)


def test_thresholds_keep_what_is_right(taught: Detector, unseen: list[Sample]) -> None:
    picked = pick_thresholds(taught, unseen)
    assert all(0.05 <= least < 1 for least in picked)
    sure = Detector(TINY.model_copy(update={"thresholds": picked}), taught._net, "")
    found = sure.sure([s.rgb_hwc for s in unseen])
    hits = sum(int(matched(s.objects, f).sum()) for s, f in zip(unseen, found, strict=True))
    labels = sum(len(s.objects) for s in unseen)
    assert hits > 0.8 * labels
    assert sum(map(len, found)) < 1.3 * labels


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_the_paint_lies_under_the_boxes_of_every_crop(scale: float) -> None:
    squares = [s for s in map(painted_sample, range(40)) if "disc" not in s.objects.labels]
    crops = DetectorCrops(squares, ("square",), 48, scale, "linear", True, 3)
    seen = 0
    for k in range(120):
        crop = crops.crop(k)
        bright = crop.values_hwc[:, :, 0] > 0.8  # squares above 1.2, the ground below 0.4
        for box in crop.boxes_n4:
            inside = bright[touched(box + np.array([1, 1, -1, -1]))]
            seen += 1
            assert inside.all()
    assert seen > 20


def test_every_sample_comes_once_before_one_comes_again() -> None:
    samples = [painted_sample(k) for k in range(5)]
    crops = DetectorCrops(samples, CLASSES, 64, 1.0, "linear", False, 0)
    order: list[int] = []
    crops._window = lambda sample, rng: (
        order.append(int(sample.key[1:]))
        or (  # type: ignore[method-assign, func-returns-value, assignment]
            sample.rgb_hwc,
            sample.objects.boxes_n4,
            np.zeros(len(sample.objects), np.int64),
        )
    )
    for k in range(10):
        crops.crop(k)
    assert sorted(order[:5]) == sorted(order[5:]) == list(range(5))


def test_perfect_detections_have_an_average_precision_of_one(unseen: list[Sample]) -> None:
    scores = mean_ap(unseen, [as_found(s) for s in unseen], CLASSES)
    assert scores.ap == pytest.approx(1.0)
    assert scores.classes["disc"].n == sum(s.objects.labels.count("disc") for s in unseen)


def test_boxes_that_are_off_count_at_low_overlap_only() -> None:
    sample = Sample(
        "a",
        np.zeros((50, 50, 3), np.uint8),
        Instances(np.array([[0.0, 0, 20, 20]]), ("disc",)),
        None,
    )
    shifted = Detections(np.array([[5.0, 0, 25, 20]]), np.array([0.9]), ("disc",))  # IoU 15 / 25
    score = mean_ap([sample], [shifted], CLASSES).classes["disc"]
    assert score.ap50 == pytest.approx(1.0)
    assert score.ap == pytest.approx(0.3)  # at 0.50, 0.55 and 0.60 of ten


def test_a_class_without_labels_does_not_count_and_nothing_found_is_zero(
    unseen: list[Sample],
) -> None:
    scores = mean_ap(unseen, [as_found(s) for s in unseen], (*CLASSES, "ghost"))
    assert set(scores.classes) == set(CLASSES) and scores.ap == pytest.approx(1.0)
    nothing = Detections(np.zeros((0, 4)), np.zeros(0), ())
    assert mean_ap(unseen, [nothing] * len(unseen), CLASSES).ap == 0


def test_one_detection_finds_one_label_of_its_own_class() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 10.5], [20, 20, 30, 30]])
    objects = Instances(boxes, ("disc", "disc", "disc"))
    found = Detections(boxes[[0, 2]], np.array([0.9, 0.8]), ("disc", "square"))
    assert matched(objects, found).tolist() == [True, False, False]
