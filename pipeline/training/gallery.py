"""What a model in training can do, as one picture: a row per example, made by the code that the ops
use.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from pipeline.diffusion.engine import Repaint, repaint
from pipeline.diffusion.enlarge import upscale
from pipeline.diffusion.label_map import LabelMap, label_map
from pipeline.diffusion.native import NativeNet, NativeUpscaler
from pipeline.diffusion.resample import enlarged, resized
from pipeline.images.depth import shown
from schemas.errors import SampleError
from schemas.sample import ByteArray, ImageArray, Sample

Grid = Image.Image
_COLOURS = np.array(
    [[230, 80, 60], [70, 130, 240], [240, 200, 60], [90, 200, 120], [200, 90, 210]], np.float32
)


def denoiser_grid(model: NativeNet, samples: Sequence[Sample]) -> Grid:
    """Columns: the image, its label map, strength 0.3, strength 0.6, and from pure noise by its
    labels alone.
    """
    config = model.config
    maps = [label_map(sample, config.classes, config.seg_classes) for sample in samples]
    columns: list[list[ImageArray]] = [
        [s.image_hwc for s in samples],
        [_painted(m, len(config.classes)) for m in maps],
    ]
    for strength, steps in ((0.3, 8), (0.6, 12), (1.0, 24)):
        tasks = [
            Repaint(s.image_hwc, np.ones(s.image_hwc.shape[:2], bool), s.image_hwc, m, strength, i)
            for i, (s, m) in enumerate(zip(samples, maps, strict=True))
        ]
        columns.append(
            [
                _black_if_bad(made, s)
                for made, s in zip(repaint(model, tasks, steps, 1.5), samples, strict=True)
            ]
        )
    return _paste(columns)


def upscaler_grid(model: NativeUpscaler, samples: Sequence[Sample]) -> Grid:
    """Columns: nearest, bicubic, the model, the original; rows alternate between x2 and x4."""
    columns: list[list[ImageArray]] = [[], [], [], []]
    for i, sample in enumerate(samples):
        factor = (2, 4)[i % 2]
        height, width = (side // factor * factor for side in sample.image_hwc.shape[:2])
        original = sample.image_hwc[:height, :width]
        small = resized(original, (height // factor, width // factor))
        made = upscale(model, [small], factor)[0]
        row = [
            small.repeat(factor, 0).repeat(factor, 1),
            enlarged(small, factor),
            _black_if_bad(made, sample),
            original,
        ]
        for column, picture in zip(columns, row, strict=True):
            column.append(picture)
    return _paste(columns)


def _painted(map_chw: LabelMap, classes: int) -> ByteArray:
    """A label map in colours, one per class."""
    domes = map_chw[:classes] if classes else map_chw[:-1]
    colours = _COLOURS[np.arange(len(domes)) % len(_COLOURS)]
    painted: ByteArray = np.clip(np.einsum("chw,cd->hwd", domes, colours), 0, 255).astype(np.uint8)
    return painted


def _black_if_bad(made: ImageArray | SampleError, sample: Sample) -> ImageArray:
    return np.zeros_like(sample.image_hwc) if isinstance(made, SampleError) else made


def _paste(columns: Sequence[Sequence[ImageArray]], gap: int = 4) -> Grid:
    height = max(picture.shape[0] for picture in columns[0]) + gap
    width = max(picture.shape[1] for picture in columns[0]) + gap
    sheet = Image.new("RGB", (width * len(columns) - gap, height * len(columns[0]) - gap), "white")
    for x, column in enumerate(columns):
        for y, picture in enumerate(column):
            sheet.paste(Image.fromarray(shown(picture)), (x * width, y * height))
    return sheet
