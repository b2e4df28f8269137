"""LaMa and MAT as a `Painter`: a hole is filled in one step from what is around it.

They know nothing of labels, prompts and strengths: whatever a job asks for, its mask is filled.
What it held is blanked before anything looks at the image, even to measure its levels. Where
nothing is known at all the job fails by name, `no_surroundings`.

An image larger than the tile is filled window by window. Of each only the core counts, `MARGIN`
pixels away from where the image goes on; what it made is known to the next one. So a window never
has to invent what its neighbour sees, and memory is bounded by the tile. Deep gray is carried as by
native models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor

from pipeline.adapters.spandrel.sizes import legal_tile, padded
from pipeline.diffusion.buckets import Shape, pad
from pipeline.diffusion.feather import Window
from pipeline.diffusion.memory import made_in_batches
from pipeline.diffusion.tiling import starts
from pipeline.diffusion.tone import Curve, FloatImage, plain_tone
from pipeline.model import Made, PaintJob
from pipeline.seeds import gaussian
from schemas.errors import SampleError
from schemas.sample import BoolArray, ImageArray

if TYPE_CHECKING:
    from spandrel import MaskedImageModelDescriptor

TILE: Final = 1024
"""Pixels; LaMa in float32 takes about 2 GB for it."""
MARGIN: Final = 64
"""Pixels at a window's inner border that the next window makes again, with more around them."""

Fill = Callable[[FloatImage, BoolArray], FloatImage]
"""(image of a window, its hole) -> the window, filled."""


class SpandrelPainter:
    """An inpainting network on a device. `digest` is that of its file."""

    def __init__(
        self, network: MaskedImageModelDescriptor[Any], digest: str, device: str, tile: int | None
    ) -> None:
        self.digest = digest
        self.device = torch.device(device)
        self.tile = legal_tile(network.size_requirements, tile or TILE)
        self._network = network.to(self.device)

    @property
    def usual_steps(self) -> int | None:
        """It has one step only."""
        return 1

    @property
    def usual_guidance(self) -> float | None:
        """It follows nothing but the image."""
        return 1.0

    @property
    def curve(self) -> Curve:
        """As the image is."""
        return "linear"

    def repaint(self, jobs: Sequence[PaintJob], steps: int, guidance: float) -> list[Made]:
        """Every job's mask filled, one image at a time; every other pixel is the sample's."""

        def make(shape: Shape, positions: Sequence[int]) -> list[Made]:
            return [self._filled(jobs[i], shape) for i in positions]

        shapes = [job.free_hw.shape for job in jobs]
        multiple = self._network.size_requirements.multiple_of
        return made_in_batches(self, shapes, multiple, 1, make)

    def _filled(self, job: PaintJob, shape: Shape) -> Made:
        image, hole = job.sample.image_hwc, job.free_hw
        if not hole.any():
            return image
        if hole.all():
            what = "the mask is the whole image, and the model fills from what is around it"
            return SampleError("no_surroundings", what)
        blank = _blanked(image, hole)
        tone = plain_tone(blank)
        shape = padded(shape, self.tile, self._network.size_requirements)
        values, holes = pad(tone.encode(blank).clip(0, 1), shape), pad(hole[:, :, None], shape)

        def fill(part: FloatImage, unknown: BoolArray) -> FloatImage:
            return self._window(part, unknown, job.noise)

        made = _window_by_window(fill, values, holes[:, :, 0], self.tile)
        made = made[: hole.shape[0], : hole.shape[1]]
        if not np.isfinite(made).all():
            return SampleError("not_finite", "the model returned NaN or infinity")
        return np.where(hole[:, :, None], tone.decode(made), image)

    @torch.inference_mode()
    def _window(self, part_hwc: FloatImage, hole_hw: BoolArray, noise: int) -> FloatImage:
        """A window through the network, float32.

        MAT takes a latent that decides among the possible fillings, and drops out activations when
        it fills, too: both come from the job's seed, and nothing is left of it in torch.
        """
        image = _to(part_hwc, self.device)
        mask = _to(hole_hw[:, :, None].astype(np.float32), self.device)
        cards = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(cards):
            torch.manual_seed(noise)
            if self._network.architecture.id == "MAT":
                model = self._network.model
                latent = torch.from_numpy(gaussian(noise, tuple(model.z.shape)))
                model.z, model.label = latent.to(self.device), model.label.to(self.device)
            made: Tensor = self._network(image, mask)
        return np.asarray(made[0].permute(1, 2, 0).float().cpu().numpy(), np.float32)


def _blanked(image_hwc: ImageArray, hole_hw: BoolArray) -> ImageArray:
    """The mean of what is known in place of the rest."""
    mean = np.rint(image_hwc[~hole_hw].mean(axis=0)).astype(image_hwc.dtype)
    return np.where(hole_hw[:, :, None], mean, image_hwc)


def _window_by_window(
    fill: Fill, image_hwc: FloatImage, hole_hw: BoolArray, tile: int
) -> FloatImage:
    """The image with its hole filled: windows in order, those first that see something."""
    made, unknown = image_hwc.copy(), hole_hw.copy()
    windows = list(_windows(hole_hw.shape, tile))
    while unknown.any():
        for window, core in windows:
            if not unknown[core].any() or unknown[window].all():
                continue
            filled = np.zeros_like(made)
            filled[window] = fill(made[window], unknown[window])
            made[core] = np.where(unknown[core][:, :, None], filled[core], made[core])
            unknown[core] = False
    return made


def _windows(hw: Shape, tile: int) -> Iterator[tuple[Window, Window]]:
    """(window, its core): windows overlap by two margins, their cores cover the image."""
    for y, y_core in _spans(hw[0], tile):
        for x, x_core in _spans(hw[1], tile):
            yield (y, x), (y_core, x_core)


def _spans(side: int, tile: int) -> list[tuple[slice, slice]]:
    margin = min(MARGIN, tile // 4)
    spans = []
    for first in starts(side, tile, 2 * margin):
        last = min(first + tile, side)
        core = slice(first + margin if first else 0, last - margin if last < side else side)
        spans.append((slice(first, last), core))
    return spans


def _to(image_hwc: FloatImage, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image_hwc.transpose(2, 0, 1)))[None].to(device)
