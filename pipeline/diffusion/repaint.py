"""Samples in, repainted images out: labels become label maps, and what a model cannot carry fails
alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.diffusion.engine import Repaint, repaint
from pipeline.diffusion.label_map import label_map
from pipeline.diffusion.predictor import Predictor
from pipeline.model import Made, PaintJob
from schemas.errors import SampleError


def repaint_samples(
    model: Predictor, jobs: Sequence[PaintJob], steps: int, guidance: float
) -> list[Made]:
    """One image or one SampleError per job, in order."""
    results: dict[int, Made] = {}
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
