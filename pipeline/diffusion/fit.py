"""How well an image fits an annotation, by the error of a denoiser that is told the annotation.

The image is noised, and the network predicts it from there, once for every annotation in question:
the one that is true makes the smallest error ("Your Diffusion Model is Secretly a Zero-Shot
Classifier", Li et al. 2023, eq. 5), and it does so where the annotations differ. All annotations
see the same noise at the same few levels, so that most of the error is the same for all and cancels
(their section 4), and few looks are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from pipeline.diffusion.buckets import Shape, pad
from pipeline.diffusion.engine import batch_pixels, guided, stack
from pipeline.diffusion.label_map import LabelMap, label_map
from pipeline.diffusion.latent import unit_tone
from pipeline.diffusion.memory import made_in_batches
from pipeline.diffusion.predictor import Predictor
from pipeline.diffusion.sampler import noised
from pipeline.diffusion.schedule import alpha_sigma
from pipeline.diffusion.tone import FloatImage, Tone
from pipeline.model import FitJob, Misfits
from pipeline.seeds import gaussian
from schemas.errors import SampleError
from schemas.sample import ImageArray

LEVELS: Final = (0.8, 0.9, 0.97)
"""Noise levels (`strength`): the labels must tell more than what is left of the image. Measured on
bccd (77 objects of 5 val images): at 0.6 alone 71 % of the objects fit, and of those that were
painted over 55 % fit no more; at these three 88 % and 95 %."""

_Look = tuple[ImageArray, LabelMap, int]
"""One image, what it is said to show, and the seed of its noise."""


def misfits(model: Predictor, jobs: Sequence[FitJob]) -> list[Misfits | SampleError]:
    """Per job and claim the squared error of v at each pixel, the mean over all levels; the
    SampleError of the first claim that the model cannot carry.
    """
    looks: list[_Look] = []
    places: list[range | SampleError] = []
    for job in jobs:
        try:
            maps = [
                label_map(claim, model.config.classes, model.config.seg_classes)
                for claim in job.claims
            ]
        except SampleError as error:
            places.append(error)
            continue
        places.append(range(len(looks), len(looks) + len(maps)))
        looks += [(job.image_hwc, one, job.noise) for one in maps]
    errors = _errors(model, looks)
    return [at if isinstance(at, SampleError) else _together(errors, at) for at in places]


def _together(errors: Sequence[Misfits | SampleError], at: range) -> Misfits | SampleError:
    parts = []
    for i in at:
        part = errors[i]
        if isinstance(part, SampleError):
            return part
        parts.append(part)
    return np.stack(parts)


def _errors(model: Predictor, looks: Sequence[_Look]) -> list[Misfits | SampleError]:
    shapes = [image.shape[:2] for image, _, _ in looks]

    def make(shape: Shape, positions: Sequence[int]) -> list[Misfits | SampleError]:
        return _looked(model, [looks[i] for i in positions], shape)

    return made_in_batches(model, shapes, model.config.multiple, batch_pixels(model), make)


def _looked(model: Predictor, looks: Sequence[_Look], shape: Shape) -> list[Misfits | SampleError]:
    """The errors of one batch of padded images, (h, w) each."""
    device, config = model.device, model.config
    clean = stack([pad(_encoded(model, image), shape) for image, _, _ in looks], device)
    labels = stack([pad(one.transpose(1, 2, 0), shape) for _, one, _ in looks], device)
    if model.latents is not None:
        clean = model.latents.encode(clean, config.latent)
        labels = avg_pool2d(labels, model.latents.factor)
    grid = (*clean.shape[2:], config.image_channels)
    total = torch.zeros_like(clean[:, :1])
    for number, level in enumerate(LEVELS):
        noise = stack([gaussian(seed + number, grid) for _, _, seed in looks], device)
        total += _error(model, clean, noise, level, labels)
    total = interpolate(total / len(LEVELS), shape, mode="nearest")
    return [_cut(one, image) for one, (image, _, _) in zip(total[:, 0], looks, strict=True)]


def _encoded(model: Predictor, image_hwc: ImageArray) -> FloatImage:
    tone = Tone.of(image_hwc, model.config.curve)
    return (tone if model.latents is None else unit_tone(tone)).encode(image_hwc)


def _error(model: Predictor, clean: Tensor, noise: Tensor, level: float, labels: Tensor) -> Tensor:
    """The mean over the channels of (v̂ - v)², (b, 1, h, w), where v = α ε - σ x."""
    shift = model.config.shift
    t_b = torch.full((len(clean),), level, device=clean.device)
    alpha, sigma = alpha_sigma(t_b, shift)
    v = guided(model, noised(clean, noise, t_b, shift), t_b, labels, guidance=1)
    return (v - (alpha * noise - sigma * clean)).square().mean(dim=1, keepdim=True)


def _cut(error_hw: Tensor, image_hwc: ImageArray) -> Misfits | SampleError:
    height, width = image_hwc.shape[:2]
    error = error_hw[:height, :width].cpu().numpy()
    if not np.isfinite(error).all():
        return SampleError("not_finite", "the model returned NaN or infinity")
    return error
