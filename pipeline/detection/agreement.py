"""Which labels a detector finds, and from which score on a detection counts.

A label is found where a detection of its class, from the threshold of that class on, overlaps it
with an IoU of `MIN_IOU` or more; each detection finds one label at most, the best first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.labels.geometry import iou
from pipeline.model import Detections
from schemas.sample import BoolArray, FloatArray, Instances, Sample

if TYPE_CHECKING:
    from pipeline.detection.detector import Detector

MIN_IOU: Final = 0.5


def matched(objects: Instances, found: Detections, min_iou: float = MIN_IOU) -> BoolArray:
    """Per label, whether a detection finds it. Greedy, best score first, within a class."""
    hit = np.zeros(len(objects), np.bool_)
    if not len(objects) or not len(found):
        return hit
    overlap = iou(found.boxes_n4, objects.boxes_n4)
    wanted = np.array(objects.labels)
    for i in np.argsort(-found.scores_n, kind="stable"):
        free = np.where(hit | (wanted != found.labels[int(i)]), -1.0, overlap[i])
        best = int(free.argmax())
        if free[best] >= min_iou:
            hit[best] = True
    return hit


def pick_thresholds(detector: Detector, samples: Sequence[Sample]) -> tuple[float, ...]:
    """Per class, the score at which F1 against the labels is highest; 0.5 where none is found."""
    found = detector.detect([sample.rgb_hwc for sample in samples])
    picked = []
    for name in detector.config.classes:
        scores: list[float] = []
        right: list[bool] = []
        labels = 0
        for sample, one in zip(samples, found, strict=True):
            objects = _of(sample.objects, name)
            mine = one.take([i for i, label in enumerate(one.labels) if label == name])
            labels += len(objects)
            scores += mine.scores_n.tolist()
            right += _right(objects, mine)
        picked.append(_best(np.array(scores), np.array(right, np.bool_), labels))
    return tuple(picked)


def _of(objects: Instances, name: str) -> Instances:
    return objects.take([i for i, label in enumerate(objects.labels) if label == name])


def _right(objects: Instances, found: Detections) -> list[bool]:
    """Per detection, whether it is the first to find its label: what `matched` counts."""
    before = 0
    right = []
    for n in range(1, len(found) + 1):  # scores fall, so a prefix is a threshold
        now = int(matched(objects, found.take(range(n))).sum())
        right.append(now > before)
        before = now
    return right


def _best(scores: FloatArray, right: BoolArray, labels: int) -> float:
    if not right.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + labels)
    return round(float(scores[order][int(f1.argmax())]), 3)
