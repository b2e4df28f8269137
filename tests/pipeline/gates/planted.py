"""Painted samples with planted faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from schemas.sample import ByteArray, Instances, Sample
from tests.pipeline.ops.examples import GROUND, PAINTS, painted

FREE = (slice(2, 9), slice(20, 32))
"""Where `painted()` has no object."""


def repainted(sample: Sample, place: tuple[slice, slice], colour: Sequence[int]) -> Sample:
    image = sample.image_hwc.copy()
    image[place] = colour
    return replace(sample, image_hwc=image)


def under(sample: Sample, i: int) -> tuple[slice, slice]:
    x0, y0, x1, y1 = sample.objects.boxes_n4[i].astype(int)
    return slice(y0, y1), slice(x0, x1)


def erased(sample: Sample, i: int) -> Sample:
    """The object is gone, and its label is not."""
    return repainted(sample, under(sample, i), [GROUND] * 3)


def flipped(sample: Sample) -> Sample:
    boxes = sample.objects.boxes_n4[:, [2, 1, 0, 3]] * [-1, 1, -1, 1]
    boxes = boxes + np.array([sample.width, 0, sample.width, 0])
    image: ByteArray = np.ascontiguousarray(sample.rgb_hwc[:, ::-1])
    return replace(sample, image_hwc=image, instances=Instances(boxes, sample.objects.labels))


def labelled(sample: Sample, box: Sequence[float], label: str) -> Sample:
    objects = sample.objects
    boxes = np.concatenate([objects.boxes_n4, np.array([box], float)])
    return replace(sample, instances=Instances(boxes, (*objects.labels, label)))


def unlabelled(sample: Sample, i: int) -> Sample:
    kept = [j for j in range(len(sample.objects)) if j != i]
    return replace(sample, instances=sample.objects.take(kept))


SOURCE = painted()
BLACK = replace(SOURCE, image_hwc=np.zeros_like(SOURCE.image_hwc))
STRAY = repainted(SOURCE, FREE, PAINTS[0])
FREE_BOX = (20.0, 2, 32, 9)
