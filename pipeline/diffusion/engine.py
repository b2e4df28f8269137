"""What the model ops share: noise some pixels of an image to a strength, and denoise them again,
around what is known.

One function for all of them: noising a whole image, repainting a region, filling a hole from pure
noise differ only in the mask, the strength and the label map. Outside the mask the result is the
source, bit for bit; inside, known pixels are put back at every step's noise level (RePaint), so
that what is made fits what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from pipeline.diffusion.buckets import Shape, pad
from pipeline.diffusion.config import DenoiserConfig
from pipeline.diffusion.grain import grained
from pipeline.diffusion.label_map import LabelMap
from pipeline.diffusion.latent import unit_tone
from pipeline.diffusion.memory import made_in_batches
from pipeline.diffusion.predictor import Predictor
from pipeline.diffusion.sampler import denoise, noised
from pipeline.diffusion.seam import joined
from pipeline.diffusion.tiling import tiled
from pipeline.diffusion.tone import FloatImage, Tone
from pipeline.model import Made
from pipeline.seeds import gaussian
from schemas.errors import SampleError
from schemas.sample import BoolArray, ImageArray

CPU_BATCH_PIXELS = 2**16
"""Of one batch on a CPU: one image of 256x256. Measured per image there: 62 ms alone, 58 ms by two,
56 ms by four, which filling up short batches would cost again."""
GPU_BATCH_PIXELS = 2**23
"""Of one batch on a GPU: 27 images of 640x480."""
GRAIN_SEED = 2**53
"""Added to the seed of the noise, which is below: grain is other noise."""


@dataclass(frozen=True, eq=False)
class Repaint:
    """One image to change: where (`mask_hw`), how strongly, with which noise, showing what.

    `start_hwc` is what is noised inside the mask: at strengths below 1 its coarse colours last.
    `hole`: nothing of what `image_hwc` shows inside the mask may come out. `grain_hwc`: an image
    whose grain is wanted, if it is another one.
    """

    image_hwc: ImageArray
    mask_hw: BoolArray
    start_hwc: ImageArray
    label_map_chw: LabelMap
    strength: float
    noise: int
    hole: bool = False
    grain_hwc: ImageArray | None = None


def repaint(model: Predictor, tasks: Sequence[Repaint], steps: int, guidance: float) -> list[Made]:
    """One image per task, or `not_finite` where the model returned no numbers, `out_of_memory`
    where it does not fit.

    `guidance` 1 follows the labels as learnt, more exaggerates them at twice the cost (Ho &
    Salimans 2022), 0 ignores them.
    """
    config = model.config
    shapes = [task.image_hwc.shape[:2] for task in tasks]

    def make(shape: Shape, positions: Sequence[int]) -> list[Made]:
        batch = [tasks[i] for i in positions]
        return _repaint_batch(model, config, batch, shape, steps, guidance)

    return made_in_batches(model, shapes, config.multiple, batch_pixels(model), make)


def _repaint_batch(
    model: Predictor,
    config: DenoiserConfig,
    tasks: Sequence[Repaint],
    shape: Shape,
    steps: int,
    guidance: float,
) -> list[Made]:
    device = model.device
    tones = [_tone(model, task) for task in tasks]
    pairs = list(zip(tones, tasks, strict=True))
    known = stack([pad(tone.encode(task.image_hwc), shape) for tone, task in pairs], device)
    start = stack([pad(tone.encode(task.start_hwc), shape) for tone, task in pairs], device)
    labels = stack([pad(task.label_map_chw.transpose(1, 2, 0), shape) for task in tasks], device)
    free = stack(
        [pad(task.mask_hw[:, :, None].astype(np.float32), shape) for task in tasks], device
    )
    if model.latents is not None:
        cell = model.latents.factor
        known = start = model.latents.encode(torch.where(free > 0, start, known), config.latent)
        labels, free = avg_pool2d(labels, cell), max_pool2d(free, cell)
    grid = (*known.shape[2:], config.image_channels)
    noise = stack([gaussian(task.noise, grid) for task in tasks], device)
    strengths = torch.tensor([task.strength for task in tasks], dtype=torch.float64)

    def constrain(x: Tensor, t_b: Tensor) -> Tensor:
        return torch.where(free > 0, x, noised(known, noise, t_b, config.shift))

    def predict(x: Tensor, t_b: Tensor) -> Tensor:
        return guided(model, x, t_b, labels, guidance)

    first = noised(start, noise, strengths.to(device, torch.float32), config.shift)
    made = denoise(first, strengths, steps, config.shift, predict, constrain)
    if model.latents is not None:
        made = model.latents.decode(made, config.latent)
    images = zip(pairs, _unstack(made), strict=True)
    return [_finish(task, tone, values) for (tone, task), values in images]


def _tone(model: Predictor, task: Repaint) -> Tone:
    tone = Tone.of(task.image_hwc, model.config.curve)
    return tone if model.latents is None else unit_tone(tone)


def guided(model: Predictor, x: Tensor, t_b: Tensor, labels: Tensor, guidance: float) -> Tensor:
    """The predicted v with classifier-free guidance: one look of the network where the guidance is
    0 or 1, two otherwise.
    """
    if guidance == 0:
        labels = torch.zeros_like(labels)
    conditional = tiled(lambda part, map_: model.predict(part, t_b, map_), x, labels)
    if guidance in (0, 1):
        return conditional
    free = tiled(lambda part, map_: model.predict(part, t_b, map_), x, torch.zeros_like(labels))
    return free + guidance * (conditional - free)


def _finish(task: Repaint, tone: Tone, values_hwc: FloatImage) -> Made:
    height, width = task.image_hwc.shape[:2]
    if not np.isfinite(values_hwc).all():
        return SampleError("not_finite", "the model returned NaN or infinity")
    made = tone.decode(_fitted(task, tone, values_hwc[:height, :width]))
    return np.where(task.mask_hw[:, :, None], made, task.image_hwc)


def _fitted(task: Repaint, tone: Tone, made_hwc: FloatImage) -> FloatImage:
    """What was made, without a step at the border of a hole, and with grain."""
    picture = tone.encode(task.image_hwc)
    like = ~task.mask_hw if task.hole else np.ones_like(task.mask_hw)
    if task.hole:
        made_hwc = joined(made_hwc, picture, task.mask_hw)
    if task.grain_hwc is not None:
        picture = tone.encode(task.grain_hwc)
        like = np.ones(picture.shape[:2], bool)
    return grained(made_hwc, picture, task.mask_hw, like, task.noise + GRAIN_SEED)


def stack(images_hwc: Sequence[FloatImage], device: torch.device) -> Tensor:
    """(b, c, h, w) on the device."""
    stacked = torch.from_numpy(np.stack(images_hwc)).permute(0, 3, 1, 2)
    return stacked.contiguous().to(device)


def _unstack(x_bchw: Tensor) -> list[FloatImage]:
    return list(x_bchw.permute(0, 2, 3, 1).cpu().numpy())


def batch_pixels(model: Predictor) -> int:
    """Of one batch on the model's device."""
    return GPU_BATCH_PIXELS if model.device.type == "cuda" else CPU_BATCH_PIXELS
