"""Scores from evidence, against independent judges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.detection.mean_ap import mean_ap
from pipeline.lift.evidence import Matches, Overlaps, matches, overlaps
from pipeline.model import Detections
from schemas.sample import IGNORE_ID, Sample
from tests.pipeline.detection.painted import CLASSES, painted_sample

SAMPLES = [painted_sample(n) for n in range(12)]
ONES = np.ones(len(SAMPLES))


def guesses(sample: Sample, number: int) -> Detections:
    """Labels, shaken, some of them twice, some of another class, and two that are nothing."""
    rng = np.random.default_rng(number)
    objects = sample.objects
    twice = np.vstack([objects.boxes_n4, objects.boxes_n4])
    boxes = np.vstack([twice + rng.normal(0, 2.5, twice.shape), [[1, 1, 9, 9], [30, 30, 60, 60]]])
    names = [*objects.labels, *objects.labels, "disc", "square"]
    names = [CLASSES[int(rng.integers(2))] if rng.random() < 0.2 else name for name in names]
    return Detections(boxes, rng.random(len(boxes)).round(2), tuple(names))


FOUND = [guesses(sample, n) for n, sample in enumerate(SAMPLES)]


def of(found: list[Detections]) -> Matches:
    return matches(SAMPLES, found, CLASSES)


def test_average_precision_is_that_of_faster_coco_eval() -> None:
    theirs = mean_ap(SAMPLES, FOUND, CLASSES)
    ours = of(FOUND).scores(ONES)
    expected = [theirs.classes[name].ap for name in CLASSES]
    assert 0.05 < min(expected) < 0.9
    np.testing.assert_allclose(ours, expected, atol=1e-9)


def test_an_image_that_counts_twice_is_an_image_that_is_there_twice() -> None:
    weights = np.array([2, 0, 1] * 4, float)
    order = [i for i, many in enumerate(weights) for _ in range(int(many))]
    samples = [replace(SAMPLES[i], key=f"{n}") for n, i in enumerate(order)]
    theirs = mean_ap(samples, [FOUND[i] for i in order], CLASSES)
    expected = [theirs.classes[name].ap for name in CLASSES]
    np.testing.assert_allclose(of(FOUND).scores(weights), expected, atol=2e-3)  # equal scores


def test_the_labels_themselves_are_worth_one_and_nothing_is_worth_zero() -> None:
    perfect = [
        Detections(s.objects.boxes_n4, np.full(len(s.objects), 0.9), s.objects.labels)
        for s in SAMPLES
    ]
    nothing = [Detections(np.zeros((0, 4)), np.zeros(0), ()) for _ in SAMPLES]
    np.testing.assert_allclose(of(perfect).scores(ONES), 1.0)
    np.testing.assert_allclose(of(nothing).scores(ONES), 0.0)


def test_a_class_without_labels_has_no_score() -> None:
    assert np.isnan(matches(SAMPLES, FOUND, ["dog"]).scores(ONES)).all()


def test_iou_is_that_of_all_images_together_without_unlabelled_pixels() -> None:
    truth = np.zeros((4, 4), np.uint8)
    truth[:, 2:] = 1
    truth[0] = IGNORE_ID
    answer = np.zeros((4, 4), np.uint8)
    answer[:, 1:] = 1
    sample = Sample("a", np.zeros((4, 4, 3), np.uint8), None, truth)
    found = overlaps([sample, sample], [answer, truth % 255], 2)
    np.testing.assert_allclose(found.scores(np.array([1.0, 0.0])), [3 / 6, 6 / 9])
    np.testing.assert_allclose(found.scores(np.array([1.0, 1.0])), [9 / 12, 12 / 15])


@pytest.mark.parametrize("evidence", [of(FOUND), Overlaps(shared=((1,),), either=((2,),))])
def test_evidence_comes_back_from_its_file(evidence: Matches | Overlaps) -> None:
    again = type(evidence).model_validate_json(evidence.model_dump_json())
    assert again == evidence
