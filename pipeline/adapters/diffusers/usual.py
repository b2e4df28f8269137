"""Steps and guidance of a pipeline where a recipe names none, as far as its files tell.

A few-step model (LCM, Turbo, Lightning, schnell) wants 4 steps and no guidance. What tells it: a
scheduler that only such models have (LCM, TCD, or Euler with trailing steps on a U-Net, as Turbo
and Lightning come), a network that was distilled with its guidance (LCM), one of Flux that was not
(schnell), or else the word in its name or that of a LoRA.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pipeline.adapters.diffusers.families import denoiser_of, parameters_of

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

STEPS: Final = 30
"""Enough for today's solvers; diffusers' 50 is of older ones."""
FEW_STEPS: Final = 4
GUIDANCE: Final = 7.5

_FEW: Final = re.compile(r"(?<![a-z])(turbo|lightning|lcm|schnell|hyper|dmd2?|tcd)(?![a-z])")
_FEW_STEP_SCHEDULERS: Final = frozenset({"LCMScheduler", "TCDScheduler", "FlowMatchLCMScheduler"})


@dataclass(frozen=True)
class Usual:
    """What a pipeline was made for."""

    steps: int
    guidance: float


def usual_of(pipeline: DiffusionPipeline, names: Sequence[str]) -> Usual:
    """Of a pipeline with its final scheduler, and the names of what it was loaded from."""
    network: Mapping[str, Any] = denoiser_of(pipeline).config
    few = _few_steps(pipeline, names)
    steps = FEW_STEPS if few else min(STEPS, int(_default(pipeline, "num_inference_steps", STEPS)))
    guidance = _default(pipeline, "guidance_scale", GUIDANCE)
    if network.get("time_cond_proj_dim") is not None or network.get("guidance_embeds"):
        return Usual(steps, guidance)  # the network was told it while it learnt
    twice = _default(pipeline, "true_cfg_scale", guidance)
    if twice <= 1:  # neither a number nor a second look: schnell
        return Usual(FEW_STEPS, 0.0)
    return Usual(steps, 0.0 if few else twice)


def _few_steps(pipeline: DiffusionPipeline, names: Sequence[str]) -> bool:
    scheduler = pipeline.scheduler
    kind = type(scheduler).__name__
    trailing = kind.startswith("Euler") and scheduler.config.get("timestep_spacing") == "trailing"
    return (
        kind in _FEW_STEP_SCHEDULERS
        or (trailing and getattr(pipeline, "unet", None) is not None)
        or any(_FEW.search(name.lower()) for name in names)
    )


def _default(pipeline: DiffusionPipeline, name: str, otherwise: float) -> float:
    """The default that the pipeline has for an argument."""
    parameter = parameters_of(type(pipeline)).get(name)
    value = None if parameter is None else parameter.default
    return value if isinstance(value, int | float) else otherwise
