"""How many images of native size a GPU's memory holds: doubled until it is full."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from pipeline.adapters.diffusers.painter import DiffusersPainter, Group
from pipeline.model import PaintJob
from schemas.sample import Sample

MOST_PIXELS: Final = 2**22
"""Of a batch: 16 images of 512x512, 4 of 1024x1024. More keep a GPU no busier, and a batch that is
not full repeats its last image."""


def images_that_fit(painter: DiffusersPainter) -> int:
    """A power of two; 1 where even one image is too much, which every sample then says itself."""
    side = painter.loaded.shapes.side
    fitting = 1
    while 2 * fitting * side**2 <= MOST_PIXELS and _fits(painter, 2 * fitting):
        fitting *= 2
    torch.cuda.empty_cache()
    return fitting


def _fits(painter: DiffusersPainter, images: int) -> bool:
    side = painter.loaded.shapes.side
    sample = Sample("probe", np.full((side, side, 3), 127, np.uint8), None, None)
    job = PaintJob(sample, sample, np.ones((side, side), bool), 1.0, 0)
    masked = painter.loaded.img2img is None
    group = Group((side, side), 1, masked, (0, 0))
    usual = painter.loaded.usual
    try:
        painter.batch(group, [job] * images, usual.steps, usual.guidance)
    except torch.OutOfMemoryError:
        return False
    return True
