"""What gates look at: an image as one plane, at a size at which two can be compared.

Values are shares of the type's range, 0 to 1, so that 8 bits and deep gray are judged alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from pipeline.known.fingerprint import Floats
from schemas.sample import ImageArray, Sample

LUMA: Final = (0.299, 0.587, 0.114)  # BT.601

WORKING_SIDE: Final = 256
"""The longer side of a plane where many pairs are compared."""


def luma(image_hwc: ImageArray) -> Floats:
    """(h, w), 0 to 1; deep gray as it is."""
    levels = image_hwc.astype(np.float32) / np.float32(np.iinfo(image_hwc.dtype).max)
    weights = np.array(LUMA if levels.shape[2] == 3 else (1,), np.float32)
    return np.asarray(levels @ weights, np.float32)


def at_size(plane_hw: Floats, hw: tuple[int, ...]) -> Floats:
    """The plane with this height and width."""
    if plane_hw.shape == hw:
        return plane_hw
    shrinks = plane_hw.shape[0] > hw[0] or plane_hw.shape[1] > hw[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(plane_hw, (hw[1], hw[0]), interpolation=way), np.float32)


def working_size(hw: tuple[int, ...]) -> tuple[int, int]:
    """The size itself, or one of the same shape whose longer side is `WORKING_SIDE`."""
    factor = max(1.0, max(hw) / WORKING_SIDE)
    return max(1, round(hw[0] / factor)), max(1, round(hw[1] / factor))


def earlier_copies(samples: Sequence[Sample]) -> list[list[int]]:
    """For each sample, where the other copies of its source are that have a lower number.

    Whether one of them is kept does not matter: what is measured does not depend on thresholds, nor
    on other gates. So of copies that are all alike the first passes, and no other.
    """
    by_source: dict[tuple[str, str, str], list[int]] = {}
    for i, sample in enumerate(samples):
        its = sample.lineage
        by_source.setdefault((its.shard, sample.key, its.content), []).append(i)
    found: list[list[int]] = [[] for _ in samples]
    for places in by_source.values():
        for i in places:
            mine = samples[i].lineage.copy
            found[i] = [j for j in places if samples[j].lineage.copy < mine]
    return found
