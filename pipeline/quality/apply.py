"""One op on one sample, as a run would do it, and what anybody can do instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import cv2
import numpy as np

from pipeline.model import Model
from pipeline.op import Draw, Op
from pipeline.seeds import rng_for
from schemas.errors import SampleError
from schemas.sample import BoolArray, ByteArray, Sample

NAME: Final = "model"
"""What ops call the model that is judged."""

BASELINES: Final = {"OpenCV Telea": cv2.INPAINT_TELEA, "OpenCV Navier-Stokes": cv2.INPAINT_NS}


def applied(
    op: Op,
    sample: Sample,
    model: Model,
    seed: int,
    copy: int = 0,
    peers: Mapping[str, Sample] | None = None,
) -> tuple[Draw, Sample] | None:
    """The op's draw and its outcome; None where it has nothing to do or cannot carry the sample."""
    peers = {sample.key: sample} if peers is None else peers
    try:
        draw = op.draw(sample, rng_for(seed, sample.key, copy, "quality"), peers)
    except SampleError:
        return None
    if draw is None:
        return None
    (outcome,) = op.apply([sample], [draw], {NAME: model}, peers)
    return None if isinstance(outcome, SampleError) else (draw, outcome)


def filled(image_hwc: ByteArray, mask_hw: BoolArray, how: int) -> ByteArray:
    """The mask filled by OpenCV, with the radius of 3 pixels that its manual uses."""
    made = cv2.inpaint(image_hwc, mask_hw.astype(np.uint8), 3, how)
    return np.asarray(made, np.uint8)


def holed(image_hwc: ByteArray, mask_hw: BoolArray) -> ByteArray:
    """The image with its holes in a colour that no sample has, to look at."""
    shown = image_hwc.copy()
    shown[mask_hw] = (230, 60, 200)
    return shown
