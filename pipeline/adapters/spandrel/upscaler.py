"""Super-resolution networks of any make as an `Upscaler`: in batches of fixed size, in feathered
tiles, in half precision on a GPU where the architecture bears it.

Deep gray goes in on the scale of the levels that it uses, three times the same, in float32 (the
ten bits of a half are not enough for it), and comes back as the mean of the channels. Networks end
at 1: what is brighter than white, a hot pixel, is enlarged by bicubic and put on top. Of a network
for gray images each channel is an image of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor

from pipeline.adapters.spandrel.sizes import legal_tile, padded
from pipeline.diffusion.buckets import Shape, pad
from pipeline.diffusion.feather import Window, feathered
from pipeline.diffusion.memory import made_in_batches
from pipeline.diffusion.resample import resized_values
from pipeline.diffusion.tone import FloatImage, Tone, plain_tone
from pipeline.model import EnlargeJob, Made
from schemas.errors import SampleError
from schemas.sample import ImageArray

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

TILE: Final = 256
"""Pixels of the small image: at x4, 64 channels of it in float32 are 270 MB. The distance of two
tiles, 224, is a multiple of the windows of transformers (8, 16), which so lie alike in all."""
CPU_BATCH_PIXELS: Final = 2**16
"""Of one batch of small images: one tile."""
GPU_BATCH_PIXELS: Final = 2**18
"""Four tiles."""
CONVOLUTIONAL: Final = frozenset({"Compact", "ESRGAN", "PLKSR", "SPAN"})
"""Architectures that run channels-last; others take views of their tensors that it would break."""


class SpandrelUpscaler:
    """A super-resolution network on a device. `digest` is that of its file."""

    def __init__(
        self, network: ImageModelDescriptor[Any], digest: str, device: str, tile: int | None
    ) -> None:
        self.digest = digest
        self.device = torch.device(device)
        self.tile = legal_tile(network.size_requirements, tile or TILE)
        self._network = network.to(self.device)
        self._layout = (
            torch.channels_last
            if network.architecture.id in CONVOLUTIONAL
            else torch.contiguous_format
        )
        self._half = _half(network, self.device)

    def upscale(
        self,
        jobs: Sequence[EnlargeJob],
        factor: int,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> list[Made]:
        """Every image enlarged, in one step; `not_finite` where the network returned no numbers,
        `out_of_memory` where not even a tile fits.
        """
        if factor != self._network.scale:
            raise ValueError(f"a network for x{self._network.scale} was asked for x{factor}")
        images = [job.image_hwc for job in jobs]
        made: dict[int, Made] = {}
        for deep in (False, True):  # never in one batch: neighbours would decide on the precision
            chosen = [i for i, image in enumerate(images) if (image.dtype == np.uint16) is deep]
            made.update(zip(chosen, self._enlarged([images[i] for i in chosen]), strict=True))
        return [made[i] for i in range(len(images))]

    def _enlarged(self, images: Sequence[ImageArray]) -> list[Made]:
        sizes = self._network.size_requirements
        pixels = GPU_BATCH_PIXELS if self.device.type == "cuda" else CPU_BATCH_PIXELS

        def make(shape: Shape, positions: Sequence[int]) -> list[Made]:
            return self._batch([images[i] for i in positions], padded(shape, self.tile, sizes))

        shapes = [padded(image.shape[:2], self.tile, sizes) for image in images]
        return made_in_batches(self, shapes, sizes.multiple_of, pixels, make)

    def _batch(self, images: Sequence[ImageArray], shape: Shape) -> list[Made]:
        tones = [plain_tone(image) for image in images]
        smalls = [tone.encode(image) for tone, image in zip(tones, images, strict=True)]
        stacked = np.stack([pad(small.clip(0, 1), shape) for small in smalls])
        small_bchw = torch.from_numpy(stacked).permute(0, 3, 1, 2)
        deep = tones[0].deep

        def make(window: Window) -> Tensor:
            return self._part(small_bchw[(..., *window)], deep)

        large = feathered(make, shape, self.tile, self._network.scale).permute(0, 2, 3, 1).numpy()
        return [
            _finish(tone, small, values, self._network.scale)
            for tone, small, values in zip(tones, smalls, large, strict=True)
        ]

    def _part(self, small_bchw: Tensor, deep: bool) -> Tensor:
        """A tile of every image of a batch, enlarged, from 0 to 1."""
        count = len(small_bchw)
        gray = self._network.input_channels == 1
        part = small_bchw.reshape(-1, 1, *small_bchw.shape[2:]) if gray else small_bchw
        part = part.to(self.device).contiguous(memory_format=self._layout)
        half = None if deep else self._half
        with torch.autocast(self.device.type, half, enabled=half is not None):
            large: Tensor = self._network(part).float().cpu()
        return large.reshape(count, 3, *large.shape[2:])


def _half(network: ImageModelDescriptor[Any], device: torch.device) -> torch.dtype | None:
    """fp16 before bf16, whose eight bits are too few for a white one level from the next."""
    if device.type != "cuda":
        return None
    if network.supports_half:
        return torch.float16
    bears = network.supports_bfloat16 and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if bears else None


def _finish(tone: Tone, small: FloatImage, large: FloatImage, scale: int) -> Made:
    height, width = small.shape[0] * scale, small.shape[1] * scale
    values = large[:height, :width]
    if not np.isfinite(values).all():
        return SampleError("not_finite", "the model returned NaN or infinity")
    if tone.deep:
        values = values + resized_values(np.maximum(small - 1, 0), (height, width))
    return tone.decode(values)
