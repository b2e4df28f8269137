"""A pipeline of diffusers as a painter: image to image, inpainting and synthesis, in few shapes.

Every sample draws from a generator of its own on the CPU (noise, the VAE's sampling, ancestral
steps), so that neither the batch nor the device has a say in it. Jobs that run the same number of
steps in the same bucket share batches of a fixed size.

Where the whole image is free and nothing is hidden, it is image to image; else inpainting, where
the family has it. The mask that the network sees is grown to whole latents, so that no hole is too
thin to be seen. Whatever comes back, outside the job's mask every pixel is the sample's, bit for
bit. A hole is joined to its surroundings; no grain is added, the VAE makes its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor

from pipeline.adapters.diffusers.families import guided, takes
from pipeline.adapters.diffusers.loading import Loaded
from pipeline.adapters.diffusers.schedules import shifted_as, steps_of, strength_for
from pipeline.diffusion.buckets import Shape, pad
from pipeline.diffusion.memory import made_in_batches
from pipeline.diffusion.seam import joined
from pipeline.model import Made, PaintJob
from schemas.errors import SampleError
from schemas.sample import BoolArray, ByteArray

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from pipeline.diffusion.tone import Curve, FloatImage

CPU_IMAGES: Final = 1
"""Of native size in a batch on a CPU, which gains nothing from more."""


@dataclass(frozen=True, order=True)
class Group:
    """What jobs of one batch have in common: shape, how many steps of how many, whether a mask is
    shown, and how long the encodings of their prompts are.
    """

    shape: Shape
    run: int
    masked: bool
    widths: tuple[int, int]


class DiffusersPainter:
    """`digest` is that of the files; `batch_pixels` bounds a batch."""

    def __init__(self, loaded: Loaded, digest: str, batch_images: int = CPU_IMAGES) -> None:
        self.digest = digest
        self.loaded = loaded
        self.batch_pixels = batch_images * loaded.shapes.side**2

    @property
    def usual_steps(self) -> int | None:
        """What the pipeline was made for."""
        return self.loaded.usual.steps

    @property
    def usual_guidance(self) -> float | None:
        """What the pipeline was made for."""
        return self.loaded.usual.guidance

    @property
    def curve(self) -> Curve:
        """Photographs are brightness as it is seen."""
        return "linear"

    def repaint(self, jobs: Sequence[PaintJob], steps: int, guidance: float) -> list[Made]:
        """Every job carried out: one image or one SampleError each, in order."""
        results: dict[int, Made] = {}
        groups: dict[Group, list[int]] = {}
        for i, job in enumerate(jobs):
            done = self._without_looking(job)
            if done is None:
                groups.setdefault(self._group(job, steps, guidance), []).append(i)
            else:
                results[i] = done
        for group, positions in sorted(groups.items()):
            some = [jobs[i] for i in positions]
            made = self._made(group, some, steps, guidance)
            results.update(zip(positions, made, strict=True))
        return [results[i] for i in range(len(jobs))]

    def _without_looking(self, job: PaintJob) -> Made | None:
        """What needs no network: nothing to do, or nothing that can be done."""
        if job.strength == 0 or not job.free_hw.any():
            return job.sample.image_hwc
        if job.sample.deep:
            return SampleError("deep_image", "a diffusers model takes 8-bit images only")
        shapes = self.loaded.shapes
        shape = shapes.of((job.sample.height, job.sample.width))
        if shapes.tiled(shape) and not self.loaded.windows.possible:
            most = max(max(sides) for sides in shapes.buckets)
            detail = f"this pipeline cannot be tiled; it takes at most {most} pixels a side"
            return SampleError("too_large", detail)
        return None

    def _group(self, job: PaintJob, steps: int, guidance: float) -> Group:
        loaded = self.loaded
        whole = bool(job.free_hw.all()) and not job.hole
        negative = job.negative_prompt or " "
        widths = (
            loaded.encodings.width(job.prompt, loaded.device),
            loaded.encodings.width(negative, loaded.device) if guidance > 1 else 0,
        )
        return Group(
            loaded.shapes.of((job.sample.height, job.sample.width)),
            steps_of(job.strength, self._most(steps)),
            loaded.inpaint is not None and not (whole and loaded.img2img is not None),
            widths,
        )

    def _most(self, steps: int) -> int:
        """Steps of the whole schedule; a consistency model's has at most as many as it learnt."""
        learnt = self.any.scheduler.config.get("original_inference_steps")
        return steps if learnt is None else min(steps, int(learnt))

    @property
    def any(self) -> DiffusionPipeline:
        """One of the two; they share their networks and their scheduler."""
        return self.loaded.img2img or self.loaded.inpaint

    def _made(
        self, group: Group, jobs: Sequence[PaintJob], steps: int, guidance: float
    ) -> list[Made]:
        def make(shape: Shape, positions: Sequence[int]) -> list[Made]:
            return self.batch(group, [jobs[i] for i in positions], steps, guidance)

        shapes = [group.shape] * len(jobs)
        return made_in_batches(self, shapes, self.loaded.shapes.multiple, self.batch_pixels, make)

    def batch(
        self, group: Group, jobs: Sequence[PaintJob], steps: int, guidance: float
    ) -> list[Made]:
        """One call of the pipeline."""
        pipeline = (self.loaded.inpaint if group.masked else None) or self.any
        generators = [torch.Generator("cpu").manual_seed(job.noise) for job in jobs]
        arguments = {
            "prompt": [job.prompt for job in jobs],
            "image": _stacked([pad(_start(job), group.shape) for job in jobs]),
            "generator": generators,
            "output_type": "pt",
            **_schedule(pipeline, group.run, self._most(steps)),
            **guided(pipeline, guidance, [job.negative_prompt for job in jobs]),
            **_sizes(pipeline, group.shape),
            **self._controls(group.shape, jobs),
        }
        if group.masked:
            masks = [grown(job.free_hw, group.shape, self.loaded.latent) for job in jobs]
            arguments["mask_image"] = torch.from_numpy(np.stack(masks))[:, None].float()
        with _own_noise(pipeline, generators), self._windowed(group.shape, arguments):
            images = pipeline(**arguments).images
        if pipeline is not self.any:
            self.any.maybe_free_model_hooks()  # they are shared, and its own are the other's
        made = images.float().cpu().permute(0, 2, 3, 1).numpy()
        return [_finished(*pair) for pair in zip(jobs, made, strict=True)]

    def _controls(self, shape: Shape, jobs: Sequence[PaintJob]) -> dict[str, Any]:
        """What each ControlNet is shown, which is of the labels and the image that are wanted."""
        controls = self.loaded.controls
        if not controls:
            return {}
        images = [
            _stacked([pad(control.shown.of(job.wanted), shape) for job in jobs])
            for control in controls
        ]
        scales = [control.scale for control in controls]
        one = len(controls) == 1
        return {
            "control_image": images[0] if one else images,
            "controlnet_conditioning_scale": scales[0] if one else scales,
        }

    @contextmanager
    def _windowed(self, shape: Shape, arguments: dict[str, Any]) -> Iterator[None]:
        """Looks at a larger shape in windows, each of them a picture of its own to the network."""
        loaded = self.loaded
        if not loaded.shapes.tiled(shape):
            yield
            return
        side = loaded.shapes.side
        if "original_size" in arguments:
            arguments |= {"original_size": (side, side), "target_size": (side, side)}
        grid = shape[0] // loaded.token, shape[1] // loaded.token
        tokens = (side // (2 * loaded.latent)) ** 2
        with (
            shifted_as(self.any.scheduler, tokens),
            loaded.windows.over(grid, side // loaded.token),
        ):
            yield


def _start(job: PaintJob) -> ByteArray:
    """What is noised: where pixels are free those that are wanted, else the sample's."""
    return np.where(job.free_hw[:, :, None], job.wanted.rgb_hwc, job.sample.rgb_hwc)


def _stacked(images: Sequence[ByteArray]) -> Tensor:
    """(b, 3, h, w), 0 to 1."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def grown(free_hw: BoolArray, shape: Shape, cell: int) -> BoolArray:
    """The mask of a padded image, with every latent free that has a free pixel."""
    padded = pad(free_hw[:, :, None], shape)[:, :, 0]
    cells = padded.reshape(shape[0] // cell, cell, shape[1] // cell, cell).any(axis=(1, 3))
    mask: BoolArray = cells.repeat(cell, axis=0).repeat(cell, axis=1)
    return mask


def _schedule(pipeline: DiffusionPipeline, run: int, steps: int) -> dict[str, Any]:
    """The arguments for the last `run` of these steps."""
    if takes(type(pipeline), "original_inference_steps"):  # LCM spreads its steps over the rest
        # a little more than the share, of which diffusers takes the whole part
        return {"num_inference_steps": run, "strength": min(1.0, run / steps + 1e-9)}
    return {"num_inference_steps": steps, "strength": strength_for(type(pipeline), steps, run)}


def _sizes(pipeline: DiffusionPipeline, shape: Shape) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    if takes(type(pipeline), "height", "width"):
        sizes |= {"height": shape[0], "width": shape[1]}
    if takes(type(pipeline), "original_size", "target_size"):
        sizes |= {"original_size": shape, "target_size": shape}
    return sizes


@contextmanager
def _own_noise(
    pipeline: DiffusionPipeline, generators: Sequence[torch.Generator]
) -> Iterator[None]:
    """Some pipelines do not hand the generators on to a scheduler that draws noise."""
    scheduler = pipeline.scheduler
    step = scheduler.step
    if "generator" in inspect.signature(step).parameters:
        scheduler.step = partial(step, generator=list(generators))
    try:
        yield
    finally:
        scheduler.step = step


def _finished(job: PaintJob, made_hwc: FloatImage) -> Made:
    """Cut back, joined, rounded once, and put where the image is free."""
    sample = job.sample
    made = made_hwc[: sample.height, : sample.width]
    if not np.isfinite(made).all():
        return SampleError("not_finite", "the model returned NaN or infinity")
    if job.hole:
        picture = sample.rgb_hwc.astype(np.float32) / np.float32(255)
        made = joined(made, picture, job.free_hw)
    rounded = np.round(np.clip(made, 0, 1) * 255).astype(np.uint8)
    return np.where(job.free_hw[:, :, None], rounded, sample.image_hwc)
