"""What an ONNX network says, in the image's pixels and by its class numbers.

A raw network says the same object many times: of boxes of one name that overlap by more than
`SAME`, the best remains, as the YOLO family does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.naming import Classes, Numbers, named_detections, named_map, names_of
from pipeline.adapters.onnx.layout import Kind
from pipeline.adapters.onnx.letterbox import Letterbox
from pipeline.model import ClassMap, Detections
from schemas.sample import FloatArray

Answer = NDArray[np.generic]

SAME: Final = 0.7
"""IoU, as in Ultralytics' prediction."""


def detections_of(
    kind: Kind, answers: Sequence[Answer], box: Letterbox, classes: Classes, least: float
) -> Detections:
    """What a detector found in the image."""
    if kind == "boxes_labels_scores":
        boxes, labels, scores = answers
        boxes_n4, numbers = _floats(boxes).reshape(-1, 4), _whole(labels).reshape(-1)
        scores_n = _floats(scores).reshape(-1)
    elif kind == "rows":
        rows_n6 = _floats(answers[0]).reshape(-1, 6)
        boxes_n4, scores_n, numbers = rows_n6[:, :4], rows_n6[:, 4], _whole(rows_n6[:, 5])
    else:
        boxes_n4, scores_n, numbers = _raw(_floats(answers[0])[0], classes, least)
    hw = box.image
    return named_detections(box.boxes(boxes_n4), scores_n, numbers, classes, least, hw)


def class_map_of(kind: Kind, answer: Answer, box: Letterbox, classes: Classes) -> ClassMap:
    """What a segmenter sees in the image."""
    if kind == "ids":
        ids_hw = _whole(answer).reshape(answer.shape[-2:])
        return named_map(box.ids(ids_hw), classes)
    return named_map(_largest(answer[0], box), classes)


def _floats(values: Answer) -> FloatArray:
    return values.astype(np.float64)


def _whole(values: Answer) -> Numbers:
    return np.rint(values).astype(np.int64) if values.dtype.kind == "f" else values.astype(np.int64)


def _raw(
    values_cn: FloatArray, classes: Classes, least: float
) -> tuple[FloatArray, FloatArray, Numbers]:
    """Boxes, scores and numbers: of each place the best class, of each object the best place."""
    import torch
    from torchvision.ops import batched_nms

    numbers = values_cn[4:].argmax(axis=0)
    scores = values_cn[4:].max(axis=0)
    there = np.flatnonzero((scores >= least) & np.isin(numbers, list(classes)))
    middle, size = values_cn[:2, there].T, values_cn[2:4, there].T
    boxes = np.concatenate([middle - size / 2, middle + size / 2], axis=1)
    groups = _groups(classes)
    group = np.array([groups[int(number)] for number in numbers[there]], np.int64)
    kept = batched_nms(*(torch.from_numpy(x) for x in (boxes, scores[there], group)), SAME).numpy()
    return boxes[kept], scores[there][kept], numbers[there][kept]


def _groups(classes: Classes) -> Mapping[int, int]:
    """Which numbers are the same thing: those of one name."""
    names = names_of(classes)
    return {number: names.index(name) for number, name in classes.items()}


def _largest(logits_chw: Answer, box: Letterbox) -> Numbers:
    """The class with the largest logit at every pixel of the image, plane by plane: all of them at
    an image's size may be gigabytes.
    """
    best = box.plane(logits_chw[0].astype(np.float32))
    numbers: Numbers = np.zeros(best.shape, np.int64)
    for number, logits_hw in enumerate(logits_chw[1:], start=1):
        plane = box.plane(logits_hw.astype(np.float32))
        numbers[plane > best] = number
        best = np.maximum(best, plane)
    return numbers
