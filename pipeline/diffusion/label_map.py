"""Labels as the picture that a network is conditioned on.

Channels: one per box class, a dome in each box (1 at the centre, 0 at the border of the ellipse
inscribed in it, the largest where several overlap), so that touching objects stay apart; then one
0/1 channel per segmentation class; and a last one that is 1 everywhere: "labels are given". All
zeros says "no labels", which the network also learns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.errors import SampleError
from schemas.sample import FloatArray, Instances, Sample

LabelMap = NDArray[np.float32]


def channels(classes: Sequence[str], seg_classes: Sequence[str]) -> int:
    """How many channels a label map of these classes has."""
    return len(classes) + len(seg_classes) + 1


def label_map(sample: Sample, classes: Sequence[str], seg_classes: Sequence[str]) -> LabelMap:
    """The label map of a sample, (channels, h, w).

    Raises SampleError `unknown_class` where the sample holds a class that the model was not trained
    on, and `no_class_map` where the model wants a class-id map that the sample does not have.
    """
    hw = (sample.height, sample.width)
    parts = [_domes(sample.objects, classes, hw)]
    if seg_classes:
        if sample.class_map_hw is None:
            raise SampleError("no_class_map", "the model is conditioned on a class-id map")
        ids = np.arange(len(seg_classes), dtype=np.uint8)
        parts.append((sample.class_map_hw[None] == ids[:, None, None]).astype(np.float32))
    parts.append(np.ones((1, *hw), np.float32))
    return np.concatenate(parts)


def _domes(instances: Instances, classes: Sequence[str], hw: tuple[int, int]) -> LabelMap:
    maps = np.zeros((len(classes), *hw), np.float32)
    for box, label in zip(instances.boxes_n4, instances.labels, strict=True):
        if label not in classes:
            raise SampleError("unknown_class", f"{label!r}; the model knows {', '.join(classes)}")
        _raise_dome(maps[list(classes).index(label)], box)
    return maps


def _raise_dome(map_hw: LabelMap, box: FloatArray) -> None:
    height, width = map_hw.shape
    x0, y0, x1, y1 = (float(v) for v in box)
    left, top = max(int(x0), 0), max(int(y0), 0)
    right, bottom = min(int(np.ceil(x1)), width), min(int(np.ceil(y1)), height)
    if left >= right or top >= bottom:
        return
    x = (np.arange(left, right) + 0.5 - (x0 + x1) / 2) / max((x1 - x0) / 2, 0.5)
    y = (np.arange(top, bottom) + 0.5 - (y0 + y1) / 2) / max((y1 - y0) / 2, 0.5)
    dome = np.maximum(1 - x[None, :] ** 2 - y[:, None] ** 2, 0).astype(np.float32)
    window = map_hw[top:bottom, left:right]
    np.maximum(window, dome, out=window)
