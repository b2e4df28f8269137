"""What ops share whose pixels a model samples: how many steps, how much guidance, and prompts.

Steps and guidance that a recipe leaves out are what the model was made for; a native model leaves
them to the op, which knows what was measured (`native_steps`, `native_guidance`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, cast

from numpy.random import Generator
from pydantic import Field

from pipeline.model import Made, Models, Painter, PaintJob
from pipeline.op import Draw, Op
from pipeline.ops.fields import Guidance, Steps
from pipeline.prompts import Prompts, drawn_prompts
from schemas.sample import Sample


class SampledOp(Op):
    """An op with a model that may be a diffusion model."""

    steps: Steps | None = Field(None, description="left out: what the model was made for")
    guidance: Guidance | None = Field(None, description="left out: what the model was made for")
    prompt: Prompts = ()
    negative_prompt: Prompts = ()

    def said(self, sample: Sample, rng: Generator) -> Draw:
        """The prompts for this sample, for its draw; SampleError `no_prompt` where one fails."""
        return drawn_prompts(self.prompt, self.negative_prompt, sample, rng)


class PaintOp(SampledOp):
    """An op that has pixels painted anew."""

    native_steps: ClassVar[int]
    native_guidance: ClassVar[float]

    def painted(
        self, models: Models, jobs: Sequence[PaintJob], draws: Sequence[Draw]
    ) -> list[Made]:
        """The jobs carried out by the op's model, with the prompts of their draws."""
        assert self.model_name is not None
        painter = cast(Painter, models[self.model_name])
        steps = _first(self.steps, painter.usual_steps, self.native_steps)
        guidance = _first(self.guidance, painter.usual_guidance, self.native_guidance)
        told = [
            replace(
                job,
                prompt=draw.get("prompt", ""),
                negative_prompt=draw.get("negative_prompt", ""),
            )
            for job, draw in zip(jobs, draws, strict=True)
        ]
        return painter.repaint(told, int(steps), guidance)


def _first(given: float | None, models_own: float | None, ops_own: float) -> float:
    named = models_own if given is None else given
    return ops_own if named is None else named
