"""What the tests of the painter share: pipelines loaded once, jobs, what a denoiser was shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from pipeline.adapters.diffusers import load
from pipeline.adapters.diffusers.families import denoiser_of
from pipeline.adapters.diffusers.painter import DiffusersPainter
from pipeline.model import Made, PaintJob
from schemas.models import DiffusersModel
from schemas.sample import BoolArray, ByteArray
from tests import tiny_pipelines as tiny
from tests.pipeline.ops.examples import painted

FAMILIES: Final[Mapping[str, Callable[[], Any]]] = {
    "sd": tiny.stable_diffusion,
    "sd-inpaint": tiny.stable_diffusion_inpaint,
    "lcm": tiny.lcm,
    "sdxl": tiny.sdxl,
    "sdxl-refiner": tiny.sdxl_refiner,
    "sd3": tiny.sd3,
    "flux-dev": tiny.flux,
    "flux-schnell": partial(tiny.flux, guidance_embeds=False),
    "flux-fill": tiny.flux_fill,
    "qwen-image": tiny.qwen_image,
}


def loaded(folder: Path, make: Callable[[], Any], images: int = 2, **spec: Any) -> DiffusersPainter:
    """A painter through a folder on disk, with this many images in a batch."""
    tiny.saved(folder, make)
    return again(folder, images, **spec)


def again(folder: Path, images: int = 2, **spec: Any) -> DiffusersPainter:
    """The same from a folder that is there."""
    model = DiffusersModel.model_validate({"diffusers": str(folder), "tile": tiny.NATIVE, **spec})
    painter = load(model, "cpu", False)
    assert isinstance(painter, DiffusersPainter)
    painter.batch_pixels = images * tiny.NATIVE**2
    return painter


def job(height: int = 48, width: int = 60, noise: int = 1, **others: Any) -> PaintJob:
    """A whole painted sample to be made anew; `hole` frees a thin part of it only."""
    sample = painted(height, width, key=f"{height}x{width}")
    free = np.ones((height, width), bool)
    if others.get("hole"):
        free[:] = False
        free[height // 4 : height // 2 + 1, width // 3 : width // 3 + 2] = True
    fields: dict[str, Any] = {
        "sample": sample,
        "wanted": sample,
        "free_hw": free,
        "strength": 0.5,
        "noise": noise,
    }
    return PaintJob(**fields | others)


def image(made: Made) -> ByteArray:
    """What was made, which is no error."""
    assert isinstance(made, np.ndarray), made
    assert made.dtype == np.uint8
    return np.asarray(made, np.uint8)


def images(painter: DiffusersPainter, jobs: Sequence[PaintJob], steps: int = 3) -> list[ByteArray]:
    """What a painter makes of jobs, at its own guidance."""
    return [image(made) for made in painter.repaint(jobs, steps, painter.usual_guidance or 0)]


def changed(made: ByteArray, one: PaintJob) -> BoolArray:
    """Which pixels are other than the sample's, (h, w)."""
    return np.asarray((made != one.sample.image_hwc).any(axis=2))


@contextmanager
def looks(painter: DiffusersPainter) -> Iterator[list[Tensor]]:
    """The latents, or tokens, that the denoiser is shown at each call while the block runs."""
    shown: list[Tensor] = []

    def keep(module: object, given: Sequence[Any], named: Mapping[str, Any]) -> None:
        x = given[0] if given else named.get("hidden_states", named.get("sample"))
        assert isinstance(x, Tensor)
        shown.append(x.detach().clone())

    pipeline = painter.loaded.img2img or painter.loaded.inpaint
    hook = denoiser_of(pipeline).register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield shown
    finally:
        hook.remove()


def same(a: Tensor, b: Tensor) -> bool:
    """Bit for bit."""
    return a.shape == b.shape and bool(torch.equal(a, b))
