"""Fidelity: the sample is neither a copy of its source nor unrecognisable.

PSNR (dB; identical images count as 100), SSIM and `patches` to the source must lie in their ranges.
`patches` is the sliced Wasserstein distance between patches of 7x7 pixels at the same places, the
mean over three sizes of structure (`pipeline/quality/patches.py`): 0 for the same image, and large
where the texture is another, whatever the single pixels are.

A range that is left out is not judged, and nothing is where the size of the image has changed or an
op made another picture (`synthesize`): such a sample is kept, without a score. An image of less
than 7 pixels has no patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
from pydantic import model_validator

from pipeline import metrics
from pipeline.gate import Gate, GateContext, Measured
from pipeline.gates.fields import Range, outside
from pipeline.model import Models
from pipeline.quality.patches import LEVELS, SIDE, Places, distances, places, scaled, taken
from schemas.sample import ByteArray, ImageArray, Sample


class Fidelity(Gate):
    """Keeps what is within these distances of its source."""

    kind: Literal["fidelity"] = "fidelity"
    psnr: Range | None = None
    ssim: Range | None = None
    patches: Range | None = None

    compares_pictures: ClassVar[bool] = True

    @model_validator(mode="after")
    def _judges_something(self) -> Fidelity:
        if self.psnr is None and self.ssim is None and self.patches is None:
            raise ValueError("give a range, [lowest, highest], for psnr, ssim or patches")
        return self

    def measure(
        self,
        sources: Sequence[Sample],
        samples: Sequence[Sample],
        models: Models,
        context: GateContext,
    ) -> list[Measured]:
        """Scores are `psnr`, `ssim` and `patches`."""
        return [Measured(_likeness(*pair)) for pair in zip(sources, samples, strict=True)]

    def decide(self, scores: Mapping[str, float]) -> str | None:
        """Reasons are `psnr_out_of_range`, `ssim_out_of_range` and `patches_out_of_range`."""
        ranges = (("psnr", self.psnr), ("ssim", self.ssim), ("patches", self.patches))
        for name, bounds in ranges:
            if bounds is not None and name in scores and outside(scores[name], bounds):
                return f"{name}_out_of_range"
        return None


def _likeness(source: Sample, sample: Sample) -> dict[str, float]:
    images = source.image_hwc, sample.image_hwc
    if images[0].shape != images[1].shape:
        return {}
    scores = {"psnr": metrics.psnr(*images), "ssim": metrics.ssim(*images)}
    apart = _patch_distance(*images)
    return scores if apart is None else scores | {"patches": apart}


def _patch_distance(source_hwc: ImageArray, sample_hwc: ImageArray) -> float | None:
    """Mean over the levels that have patches; None where the image is too small for one."""
    at = _everywhere(source_hwc.shape[0], source_hwc.shape[1])
    if not at:
        return None
    real, made = (taken(image, at) for image in _as_bytes(source_hwc, sample_hwc))
    levels = np.array(distances(scaled(made, real), scaled(real, real)))
    there = levels[~np.isnan(levels)]
    return float(there.mean()) if len(there) else None


def _as_bytes(source_hwc: ImageArray, sample_hwc: ImageArray) -> tuple[ByteArray, ByteArray]:
    """Deep gray as three equal channels of 8 bits, from black to white of the source."""
    if source_hwc.dtype == np.uint8:
        return source_hwc.astype(np.uint8, copy=False), sample_hwc.astype(np.uint8, copy=False)
    low, high = float(source_hwc.min()), float(source_hwc.max())
    source, sample = (
        np.clip((image.astype(np.float32) - low) * (255 / max(high - low, 1)), 0, 255)
        for image in (source_hwc, sample_hwc)
    )
    return _three(source), _three(sample)


def _three(gray_hw1: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> ByteArray:
    return np.repeat(np.round(gray_hw1).astype(np.uint8), 3, axis=2)


@lru_cache(maxsize=64)
def _everywhere(height: int, width: int) -> Places:
    """The same places in every image of a size, on every level that is as large as a patch."""
    sides = [-(-min(height, width) // 2**level) for level in range(LEVELS)]
    levels = sum(side >= SIDE for side in sides)
    return places(np.ones((height, width), np.bool_), np.random.default_rng(0), levels)
