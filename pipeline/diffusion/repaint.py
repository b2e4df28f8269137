"""Samples in, repainted images out: labels become label maps, and what a model cannot carry fails
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.diffusion.engine import Repaint, repaint
from pipeline.diffusion.label_map import label_map
from pipeline.diffusion.native import DenoiserConfig, NativeNet
from schemas.errors import SampleError
from schemas.sample import BoolArray, ImageArray, Sample


@dataclass(frozen=True, eq=False)
class PaintJob:
    """Repaint `sample` where `free_hw` is True, from the image and to the labels of `wanted`.

    `hole`: nothing of what the sample shows there may come out. `grain_hwc`: an image whose grain
    is wanted, if it is another one.
    """

    sample: Sample
    wanted: Sample
    free_hw: BoolArray
    strength: float
    noise: int
    hole: bool = False
    grain_hwc: ImageArray | None = None


def repaint_samples(
    model: NativeNet, jobs: Sequence[PaintJob], steps: int, guidance: float
) -> list[ImageArray | SampleError]:
    """One image or one SampleError per job, in order."""
    assert isinstance(model.config, DenoiserConfig)
    results: dict[int, ImageArray | SampleError] = {}
    tasks: dict[int, Repaint] = {}
    for i, job in enumerate(jobs):
        if job.strength == 0 or not job.free_hw.any():
            results[i] = job.sample.image_hwc
            continue
        try:
            wanted = label_map(job.wanted, model.config.classes, model.config.seg_classes)
            tasks[i] = Repaint(
                job.sample.image_hwc,
                job.free_hw,
                job.wanted.image_hwc,
                wanted,
                job.strength,
                job.noise,
                job.hole,
                job.grain_hwc,
            )
        except SampleError as error:
            results[i] = error
    results.update(zip(tasks, repaint(model, list(tasks.values()), steps, guidance), strict=True))
    return [results[i] for i in range(len(jobs))]
