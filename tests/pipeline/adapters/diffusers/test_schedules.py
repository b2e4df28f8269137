"""Steps, strengths and schedulers."""

from __future__ import annotations

import pytest
from diffusers import (
    FluxImg2ImgPipeline,
    QwenImageImg2ImgPipeline,
    StableDiffusion3InpaintPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
)

from pipeline.adapters.diffusers.schedules import (
    check_scheduler,
    steps_of,
    strength_for,
    timesteps_run,
)
from schemas.errors import ModelError
from schemas.models import Scheduler

DOWN = (StableDiffusionImg2ImgPipeline, StableDiffusionXLInpaintPipeline)
UP = (StableDiffusion3InpaintPipeline, FluxImg2ImgPipeline, QwenImageImg2ImgPipeline)


@pytest.mark.parametrize("pipeline", [DOWN[0], UP[0]], ids=["int(ns)", "int(n-ns)"])
def test_every_number_of_steps_of_every_schedule_can_be_run(pipeline: type) -> None:
    schedules = [*range(1, 100), 250, 333, 999, 1000]
    for steps in schedules:
        for run in range(1, steps + 1):
            strength = strength_for(pipeline, steps, run)
            assert 0 < strength <= 1
            assert (strength == 1) == (run == steps)
            assert timesteps_run(pipeline, steps, strength) == run


def test_the_pipelines_reckon_in_the_two_ways_that_are_tested_for_all() -> None:
    for pipelines in (DOWN, UP):
        for strength in (0.29, 0.3, 0.57, 0.999):
            assert len({timesteps_run(one, 100, strength) for one in pipelines}) == 1
    assert timesteps_run(DOWN[0], 100, 0.29) == 28  # 100 * 0.29 is 28.999999999999996


def test_a_strength_is_a_share_of_the_steps_and_at_least_one() -> None:
    assert [steps_of(s, 30) for s in (0.001, 0.02, 0.5, 0.99, 1.0)] == [1, 1, 15, 30, 30]
    assert steps_of(0.3, 1) == 1


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (
            {"name": "DPMSolverMultistep"},
            "none called DPMSolverMultistep here; did you mean DPM",
        ),
        ({"name": "StableDiffusionPipeline"}, "none called StableDiffusionPipeline"),
        ({"name": "DPMSolverSDEScheduler"}, "not each sample's own"),
        (
            {"name": "FlowMatchEulerDiscreteScheduler", "settings": {"stochastic_sampling": True}},
            "not each sample's own",
        ),
        (
            {"name": "FlowMatchEulerDiscreteScheduler"},
            "cannot take the place of PNDMScheduler: one is for models of flow matching",
        ),
        (
            {"name": "DDIMScheduler", "settings": {"timestep_spacings": "trailing"}},
            "no setting timestep_spacings; did you mean timestep_spacing?",
        ),
    ],
)
def test_a_scheduler_that_will_not_do_is_refused_by_name(
    scheduler: dict[str, object], message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        check_scheduler(Scheduler.model_validate(scheduler), "PNDMScheduler")
    assert "\n" not in str(caught.value)
