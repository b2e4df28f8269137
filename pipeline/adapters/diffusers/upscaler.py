"""Diffusion upscalers: `StableDiffusionUpscalePipeline`, four times as large, and
`StableDiffusionLatentUpscalePipeline`, twice.

    upscaler: {diffusers: weights/stable-diffusion-x4-upscaler}

Both sharpen with what their training tells, and with the prompt, so that what they add is likely,
not true: for pixels that are measured take a network of spandrel or our own.

Noise is each sample's own: that of the latents is drawn for the whole image and cut into its tiles,
so that neighbours agree where they overlap; what a pipeline draws beside it comes from a generator
for every tile, on the CPU. Tiles are feathered (`pipeline/diffusion/feather.py`). An image without
any prompt needs no guidance: both halves of it would say the same, at twice the cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import lcm
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from pipeline.adapters.diffusers.errors import first_line
from pipeline.adapters.diffusers.hub import folder_of
from pipeline.adapters.diffusers.loading import hush, precision
from pipeline.adapters.diffusers.schedules import scheduler_of
from pipeline.diffusion.buckets import Shape, pad
from pipeline.diffusion.feather import Window, feathered
from pipeline.diffusion.memory import made_in_batches
from pipeline.diffusion.tone import FloatImage, Tone, plain_tone
from pipeline.model import EnlargeJob, Made, Upscaler
from pipeline.seeds import gaussian
from schemas.errors import ModelError, SampleError
from schemas.models import DiffusersModel

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

CPU_BATCH_PIXELS: Final = 2**14
GPU_BATCH_PIXELS: Final = 2**16
"""Of one batch of small images; four tiles of 128x128 are 512x512 each when they are decoded."""
ROW: Final = 2**16
"""Seeds between a row of pixels and the next: each tile has one of its own, the first the image's.
"""


@dataclass(frozen=True)
class _Kind:
    """What a pipeline is made for; steps and guidance are its authors'."""

    scale: int
    steps: int
    guidance: float


KINDS: Final[Mapping[str, _Kind]] = {
    "StableDiffusionUpscalePipeline": _Kind(4, 75, 9.0),
    "StableDiffusionLatentUpscalePipeline": _Kind(2, 20, 0.0),
}


def upscaler_scale(class_name: str) -> int | None:
    """How many times as large a pipeline of this class makes an image; None for another class."""
    kind = KINDS.get(class_name)
    return None if kind is None else kind.scale


def check_upscaler(spec: DiffusersModel, class_name: str) -> None:
    """ModelError where the recipe wants what an upscaler does not have."""
    given: dict[str, object] = {"lora": spec.lora, "controlnet": spec.controlnet, "vae": spec.vae}
    if class_name == "StableDiffusionLatentUpscalePipeline":
        given["scheduler"] = spec.scheduler  # it steps through the sigmas of its own
    for field, value in given.items():
        if value:
            raise ModelError(f"{spec.diffusers}: a {class_name} takes no {field}; leave it out")


def load_upscaler(spec: DiffusersModel, digest: str, device: str) -> Upscaler:
    """The pipeline on this device. Its shapes are few, but it is not compiled: one tile takes so
    many steps that the launches do not count.
    """
    import diffusers

    hush()
    folder = folder_of(spec.diffusers, spec.revision)
    try:
        pipeline = diffusers.DiffusionPipeline.from_pretrained(
            folder,
            dtype=precision(spec, device),
            use_safetensors=True,
            local_files_only=True,
            variant=spec.variant,
        )
    except (OSError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder}: not a pipeline that loads: {first_line(error)}") from error
    if spec.scheduler is not None:
        pipeline.scheduler = scheduler_of(spec.scheduler, pipeline.scheduler)
    return DiffusersUpscaler(pipeline, spec, digest, device)


class DiffusersUpscaler:
    """An upscaling pipeline on a device."""

    def __init__(
        self, pipeline: DiffusionPipeline, spec: DiffusersModel, digest: str, device: str
    ) -> None:
        self.digest = digest
        self.device = torch.device(device)
        self.kind = KINDS[type(pipeline).__name__]
        self._pipeline = pipeline
        self._dtype = next(pipeline.unet.parameters()).dtype
        pipeline.set_progress_bar_config(disable=True)
        pipeline.vae.enable_slicing()
        if spec.offload and self.device.type == "cuda":
            pipeline.enable_model_cpu_offload(device=device)
        else:
            pipeline.to(device)
        factor = int(pipeline.vae_scale_factor)
        self.cell = 1 if self.kind.scale == 4 else factor // 2
        """Pixels of the small image for one latent of the large one."""
        # two latents at the lowest level of the network, which reflects them at its border
        self.multiple = lcm(factor, self.cell * 2 ** len(pipeline.unet.config.block_out_channels))
        native = int(pipeline.unet.config.sample_size) * self.cell
        self.tile = -(-(spec.tile or native) // self.multiple) * self.multiple

    def upscale(
        self,
        jobs: Sequence[EnlargeJob],
        factor: int,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> list[Made]:
        """Every image enlarged; `not_finite` where the pipeline returned no numbers."""
        if factor != self.kind.scale:
            raise ValueError(f"a pipeline for x{self.kind.scale} was asked for x{factor}")
        given = steps or self.kind.steps, self.kind.guidance if guidance is None else guidance
        made: dict[int, Made] = {}
        for silent in (False, True):  # never in one batch: neighbours would decide on the guidance
            chosen = [i for i, job in enumerate(jobs) if _silent(job) is silent]
            guided = (given[0], 1.0) if silent and given[1] > 1 else given
            made.update(zip(chosen, self._made([jobs[i] for i in chosen], *guided), strict=True))
        return [made[i] for i in range(len(jobs))]

    def _made(self, jobs: Sequence[EnlargeJob], steps: int, guidance: float) -> list[Made]:
        pixels = GPU_BATCH_PIXELS if self.device.type == "cuda" else CPU_BATCH_PIXELS

        def make(shape: Shape, positions: Sequence[int]) -> list[Made]:
            return self._batch([jobs[i] for i in positions], shape, steps, guidance)

        shapes = [job.image_hwc.shape[:2] for job in jobs]
        return made_in_batches(self, shapes, self.multiple, pixels, make)

    def _batch(
        self, jobs: Sequence[EnlargeJob], shape: Shape, steps: int, guidance: float
    ) -> list[Made]:
        tones = [plain_tone(job.image_hwc) for job in jobs]
        pairs = list(zip(tones, jobs, strict=True))
        smalls = [pad(tone.encode(job.image_hwc).clip(0, 1), shape) for tone, job in pairs]
        small_bchw = torch.from_numpy(np.stack(smalls)).permute(0, 3, 1, 2).contiguous()
        channels = int(self._pipeline.vae.config.latent_channels)
        grid = (channels, shape[0] // self.cell, shape[1] // self.cell)
        noise = torch.from_numpy(np.stack([gaussian(job.noise, grid) for job in jobs]))

        def make(window: Window) -> Tensor:
            return self._part(jobs, window, small_bchw, noise, steps, guidance)

        large = feathered(make, shape, self.tile, self.kind.scale).permute(0, 2, 3, 1).numpy()
        return [
            _finish(tone, values[: height * self.kind.scale, : width * self.kind.scale])
            for tone, values, (height, width) in zip(
                tones, large, (job.image_hwc.shape[:2] for job in jobs), strict=True
            )
        ]

    def _part(
        self,
        jobs: Sequence[EnlargeJob],
        window: Window,
        small_bchw: Tensor,
        noise_bchw: Tensor,
        steps: int,
        guidance: float,
    ) -> Tensor:
        """A tile of every image of a batch, from 0 to 1."""
        rows, columns = (slice(s.start // self.cell, s.stop // self.cell) for s in window)
        place = window[0].start * ROW + window[1].start
        made = self._pipeline(
            prompt=[job.prompt for job in jobs],
            negative_prompt=[job.negative_prompt for job in jobs],
            image=small_bchw[(..., *window)],
            latents=noise_bchw[..., rows, columns].to(self._dtype),
            generator=[torch.Generator("cpu").manual_seed(job.noise + place) for job in jobs],
            num_inference_steps=steps,
            guidance_scale=guidance,
            output_type="pt",
        ).images
        return torch.as_tensor(made).float().cpu()


def _silent(job: EnlargeJob) -> bool:
    return not job.prompt and not job.negative_prompt


def _finish(tone: Tone, values_hwc: FloatImage) -> Made:
    if not np.isfinite(values_hwc).all():
        return SampleError("not_finite", "the model returned NaN or infinity")
    return tone.decode(values_hwc)
