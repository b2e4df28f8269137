"""Average precision as COCO defines it, by faster-coco-eval.

AP is the mean over IoU 0.50:0.05:0.95, AP50 that at 0.50, each over 101 points of recall; mAP is
the mean over those classes that have labels. Nothing is ignored: no crowds, no areas, every size
counts, and a detection on an object that nobody labelled is wrong. So where labels are incomplete
(red cells in bccd) the numbers are a lower bound: look at them class by class. At most 300
detections of an image are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.detection.network import MOST
from pipeline.model import Detections
from schemas.sample import FloatArray, Sample


@dataclass(frozen=True)
class ClassScore:
    """One class: AP, AP50 and how many labels it has."""

    ap: float
    ap50: float
    n: int


@dataclass(frozen=True)
class Scores:
    """All classes that have labels."""

    classes: dict[str, ClassScore]

    @property
    def ap(self) -> float:
        """mAP: the mean of AP over classes, 0 where there is none."""
        return float(np.mean([c.ap for c in self.classes.values()])) if self.classes else 0.0

    @property
    def ap50(self) -> float:
        """The mean of AP50 over classes."""
        return float(np.mean([c.ap50 for c in self.classes.values()])) if self.classes else 0.0


def mean_ap(
    samples: Sequence[Sample], found: Sequence[Detections], classes: Sequence[str]
) -> Scores:
    """How well detections agree with the labels of their samples."""
    from faster_coco_eval import COCO, COCOeval_faster

    ids = {name: i + 1 for i, name in enumerate(classes)}
    labels = [
        _annotation(image, ids[name], box)
        for image, sample in enumerate(samples)
        for box, name in zip(sample.objects.boxes_n4, sample.objects.labels, strict=True)
        if name in ids
    ]
    for number, label in enumerate(labels):
        label["id"] = number + 1
    counts = {name: sum(label["category_id"] == i for label in labels) for name, i in ids.items()}
    results = [
        _annotation(image, ids[name], box) | {"score": float(score)}
        for image, one in enumerate(found)
        for box, score, name in zip(one.boxes_n4, one.scores_n, one.labels, strict=True)
    ]
    if not labels or not results:
        return Scores({name: ClassScore(0.0, 0.0, n) for name, n in counts.items() if n})
    truth = COCO(
        {
            "images": [
                {"id": i, "height": s.height, "width": s.width} for i, s in enumerate(samples)
            ],
            "categories": [{"id": i, "name": name} for name, i in ids.items()],
            "annotations": labels,
        }
    )
    judge = COCOeval_faster(truth, truth.loadRes(results), "bbox")
    judge.params.maxDets = [1, 10, MOST]
    judge.evaluate()
    judge.accumulate()
    precision = np.asarray(judge.eval["precision"])  # IoU, recall, class, area, detections
    return Scores(
        {
            name: ClassScore(
                _mean(precision[:, :, i - 1, 0, -1]),
                _mean(precision[0, :, i - 1, 0, -1]),
                counts[name],
            )
            for name, i in ids.items()
            if counts[name]
        }
    )


def _mean(values: FloatArray) -> float:
    """COCO writes -1 where nothing can be said."""
    return float(np.maximum(values, 0).mean())


def _annotation(image: int, category: int, box: FloatArray) -> dict[str, object]:
    x0, y0, x1, y1 = (float(v) for v in box)
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
    }
