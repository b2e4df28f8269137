"""Enlarging with a native upscaler: bicubic, and what the network says is missing.

Everything between the bytes of the small image and those of the large one is float32: rounding the
bicubic image to 8 bits alone is half of the error that an upscaler may make at 52 dB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pipeline.diffusion.buckets import Shape, pad
from pipeline.diffusion.memory import made_in_batches
from pipeline.diffusion.predictor import Enlarger
from pipeline.diffusion.resample import resized_values
from pipeline.diffusion.tone import FloatImage, Tone
from pipeline.model import Made
from schemas.errors import SampleError
from schemas.sample import ImageArray

CPU_BATCH_PIXELS = 2**16
"""Of one batch of small images on a CPU: one of 256x256."""
GPU_BATCH_PIXELS = 2**21
"""Of one batch of small images on a GPU: 6 of 640x480; 48 channels of them in bf16 are 200 MB."""


def upscale(model: Enlarger, images: Sequence[ImageArray], factor: int) -> list[Made]:
    """Each image `factor` times as wide and high, or `not_finite` where the model returned no
    numbers, `out_of_memory` where it does not fit.
    """
    shapes = [image.shape[:2] for image in images]
    pixels = GPU_BATCH_PIXELS if model.device.type == "cuda" else CPU_BATCH_PIXELS

    def make(shape: Shape, positions: Sequence[int]) -> list[Made]:
        return _upscale_batch(model, [images[i] for i in positions], factor, shape)

    return made_in_batches(model, shapes, 1, pixels, make)


def _upscale_batch(
    model: Enlarger, images: Sequence[ImageArray], factor: int, shape: Shape
) -> list[Made]:
    tones = [Tone.of(image, "linear") for image in images]
    smalls = [tone.encode(image) for tone, image in zip(tones, images, strict=True)]
    stacked = torch.from_numpy(np.stack([pad(small, shape) for small in smalls]))
    residuals = model.residual(stacked.permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1)
    return [
        _finish(tone, small, residual, factor)
        for tone, small, residual in zip(tones, smalls, residuals.numpy(), strict=True)
    ]


def _finish(tone: Tone, small: FloatImage, residual: FloatImage, factor: int) -> Made:
    height, width = small.shape[0] * factor, small.shape[1] * factor
    values = resized_values(small, (height, width)) + residual[:height, :width]
    if not np.isfinite(values).all():
        return SampleError("not_finite", "the model returned NaN or infinity")
    return tone.decode(values)
