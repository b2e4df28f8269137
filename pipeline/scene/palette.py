"""A picture with the tones of one sample and the layout of another: what tells a denoiser, which
works in a scale of its own for every image, how bright and how contrasted an image of this layout
would be.

Every pixel takes one of the tone's sample that belongs to the same kind of thing (a class id, else
the class of the ellipse in a box, else the ground). So an image with twice the nuclei of its
tone's sample is accordingly brighter, with neither brighter nuclei nor a brighter ground.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.scene.light import like_ground
from pipeline.scene.shape import ellipse_in
from schemas.sample import IGNORE_ID, ByteArray, Sample


def palette(layout: Sample, tone: Sample) -> ByteArray:
    """An image of the layout's size; (h, w, 3)."""
    classes = tuple(sorted({*layout.objects.labels, *tone.objects.labels}))
    kinds, theirs = _kinds(layout, classes), _kinds(tone, classes)
    image = np.zeros((layout.height, layout.width, 3), np.uint8)
    for kind in np.unique(kinds):
        here = kinds == kind
        pixels = tone.image_hwc[theirs == kind]
        if kind == 0 and tone.class_map_hw is None:
            pixels = _bare(pixels, tone)
        if not len(pixels):
            pixels = tone.image_hwc[(theirs != 0) | (theirs == 0).all()]
        count = int(here.sum())
        image[here] = pixels[np.arange(count) * len(pixels) // count]
    return image


def _bare(pixels_nc: ByteArray, tone: Sample) -> ByteArray:
    """The ground's pixels without those of objects that nobody boxed: their contrast would ask the
    denoiser for more of them.
    """
    if not len(pixels_nc) or not len(tone.objects):
        return pixels_nc
    ground = np.asarray(np.median(pixels_nc, axis=0), np.float64)
    return pixels_nc[like_ground(tone, pixels_nc.astype(np.float64), ground)]


def _kinds(sample: Sample, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """What every pixel is, (h, w); 0: ground."""
    if sample.class_map_hw is not None:
        ids = sample.class_map_hw.astype(np.int64)
        return np.where(ids == IGNORE_ID, 0, ids)
    kinds = np.zeros((sample.height, sample.width), np.int64)
    for box, label in zip(sample.objects.boxes_n4, sample.objects.labels, strict=True):
        ellipse = ellipse_in(box, sample.height, sample.width)
        kinds[ellipse.window][ellipse.mask_hw] = 1 + classes.index(label)
    return kinds
