"""What a student's answers are worth, image by image: enough to score any resample of the images.

`Overlaps` of a segmenter: intersection and union per image and class; the IoU of a class is that of
all images together. `Matches` of a detector: every detection with the IoU thresholds at which it
finds a label, as COCO matches them; AP is COCO's, over 0.50:0.05:0.95 and 101 points of recall,
and with every image once it is what faster-coco-eval says. A class that no label has is nan.

`weights_i` says how often each image counts: ones for the score itself, other numbers for a
resample of the bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.labels.geometry import iou
from pipeline.model import Detections
from schemas.sample import IGNORE_ID, BoolArray, ByteArray, FloatArray, Sample
from schemas.spec import Spec

IOUS: Final = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
RECALLS: Final = np.linspace(0, 1, 101)


class Overlaps(Spec):
    """Pixels of each image and class: shared by map and label, and covered by either."""

    kind: Literal["overlaps"] = "overlaps"
    shared: tuple[tuple[int, ...], ...]
    either: tuple[tuple[int, ...], ...]

    @property
    def images(self) -> int:
        """How many images were looked at."""
        return len(self.shared)

    def scores(self, weights_i: FloatArray) -> FloatArray:
        """IoU of each class."""
        shared, either = weights_i @ np.array(self.shared), weights_i @ np.array(self.either)
        return np.where(either > 0, shared / np.maximum(either, 1e-9), np.nan)


class ClassMatches(Spec):
    """Detections of one class, best first: score, image, and the lowest bit for the lowest IoU."""

    scores: tuple[float, ...]
    images: tuple[int, ...]
    hits: tuple[int, ...]
    labels: tuple[int, ...] = Field(description="of each image")

    @cached_property
    def images_d(self) -> NDArray[np.intp]:
        """The image of each detection."""
        return np.array(self.images, np.intp)

    @cached_property
    def right_td(self) -> FloatArray:
        """1 where a detection finds a label at an IoU, (IoUs, detections)."""
        bits = np.array(self.hits, np.int64)
        return ((bits[None, :] >> np.arange(len(IOUS))[:, None]) & 1).astype(np.float64)


class Matches(Spec):
    """The detections of each class."""

    kind: Literal["matches"] = "matches"
    classes: tuple[ClassMatches, ...]

    @property
    def images(self) -> int:
        """How many images were looked at."""
        return len(self.classes[0].labels)

    def scores(self, weights_i: FloatArray) -> FloatArray:
        """AP of each class."""
        return np.array([average_precision(one, weights_i) for one in self.classes])


Evidence = Annotated[Overlaps | Matches, Field(discriminator="kind")]


def overlaps(samples: Sequence[Sample], maps: Sequence[ByteArray], classes: int) -> Overlaps:
    """Class-id maps held against those of their samples; unlabelled pixels count for nothing."""
    shared, either = [], []
    for sample, ids_hw in zip(samples, maps, strict=True):
        truth = sample.class_map_hw
        if truth is None:
            raise ValueError(f"{sample.key} has no class-id map")
        known = truth != IGNORE_ID
        pairs = [(truth[known] == i, ids_hw[known] == i) for i in range(classes)]
        shared.append(tuple(int((a & b).sum()) for a, b in pairs))
        either.append(tuple(int((a | b).sum()) for a, b in pairs))
    return Overlaps(shared=tuple(shared), either=tuple(either))


def matches(
    samples: Sequence[Sample], found: Sequence[Detections], classes: Sequence[str]
) -> Matches:
    """Detections held against the labels of their samples."""
    return Matches(classes=tuple(_class_matches(samples, found, name) for name in classes))


def _class_matches(
    samples: Sequence[Sample], found: Sequence[Detections], name: str
) -> ClassMatches:
    rows: list[tuple[float, int, int]] = []
    labels = []
    for image, (sample, one) in enumerate(zip(samples, found, strict=True)):
        wanted = sample.objects.boxes_n4[[label == name for label in sample.objects.labels]]
        mine = one.take([i for i, label in enumerate(one.labels) if label == name])
        best = np.argsort(-mine.scores_n, kind="stable")
        hits = _hits(iou(mine.boxes_n4[best], wanted))
        bits = (hits.astype(int) << np.arange(len(IOUS))[:, None]).sum(axis=0)
        rows += [
            (float(score), image, int(bit))
            for score, bit in zip(mine.scores_n[best], bits, strict=True)
        ]
        labels.append(len(wanted))
    rows.sort(key=lambda row: -row[0])  # stable, as COCO's: equal scores stay in order of images
    scores, images, marks = zip(*rows, strict=True) if rows else ((), (), ())
    return ClassMatches(scores=scores, images=images, hits=marks, labels=tuple(labels))


def _hits(overlap_dl: FloatArray) -> BoolArray:
    """(IoUs, detections): each finds the label that it overlaps most, of those still free."""
    many, labels = overlap_dl.shape
    out = np.zeros((len(IOUS), many), np.bool_)
    if not labels:
        return out
    for t, least in enumerate(IOUS):
        free = np.ones(labels, np.bool_)
        for d in range(many):
            fits = np.where(free, overlap_dl[d], -1.0)
            best = int(fits.argmax())
            if fits[best] >= least:
                out[t, d], free[best] = True, False
    return out


def average_precision(one: ClassMatches, weights_i: FloatArray) -> float:
    """AP of one class over these images; nan where they have no label of it."""
    wanted = float(weights_i @ np.array(one.labels))
    if wanted == 0:
        return float("nan")
    weights_d = weights_i[one.images_d]
    shown = np.flatnonzero(weights_d)
    if not len(shown):
        return 0.0
    weights_d = weights_d[shown]
    hits_td = np.cumsum(one.right_td[:, shown] * weights_d, axis=1)
    precision_td = hits_td / np.cumsum(weights_d)
    envelope_td = np.maximum.accumulate(precision_td[:, ::-1], axis=1)[:, ::-1]
    total = 0.0
    for recall_d, precision_d in zip(hits_td / wanted, envelope_td, strict=True):
        at = np.searchsorted(recall_d, RECALLS, side="left")
        total += float(precision_d[at[at < len(recall_d)]].sum())
    return total / (len(IOUS) * len(RECALLS))
