"""Reverse diffusion in a few steps: diffusers' DPM-Solver++ (2M), each sample of a batch at its own
noise level.

diffusers' solver keeps one noise level per step. Its formulas are elementwise, so a level per
sample is the same solver with a tensor in place of the number: `solver` puts (steps + 1, b, 1, 1,
1) noise ratios where it keeps its own. A test holds this against one plain solver per sample.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from pipeline.diffusion.schedule import alpha_sigma, noise_ratio, time_grid

Predict = Callable[[Tensor, Tensor], Tensor]
"""(x, t of each sample) -> v."""

Constrain = Callable[[Tensor, Tensor], Tensor]
"""(x, t of each sample) -> x with what is known put back at that noise level."""


def solver(times_kb: Tensor, shift: float, device: torch.device) -> DPMSolverMultistepScheduler:
    """A DPM-Solver++ whose noise levels are those of these times, (steps + 1, b)."""
    steps = len(times_kb) - 1
    scheduler = DPMSolverMultistepScheduler(
        algorithm_type="dpmsolver++",
        solver_order=2,
        prediction_type="v_prediction",
        lower_order_final=True,
    )
    scheduler.set_timesteps(steps, device=device)
    scheduler.sigmas = noise_ratio(times_kb, shift).to(device, torch.float32)[
        :, :, None, None, None
    ]
    scheduler.set_begin_index(0)
    return scheduler


def denoise(
    x_bchw: Tensor,
    strengths: Tensor,
    steps: int,
    shift: float,
    predict: Predict,
    constrain: Constrain,
) -> Tensor:
    """From x at each sample's strength down to a clean image.

    `constrain` is called after every step, also the last (RePaint, Lugmayr et al. 2022, eq. 8).
    """
    times_kb = time_grid(strengths, steps)
    scheduler = solver(times_kb, shift, x_bchw.device)
    times = times_kb.to(x_bchw.device, torch.float32)
    x = x_bchw
    for k, timestep in enumerate(scheduler.timesteps):
        x = scheduler.step(predict(x, times[k]), timestep, x, return_dict=False)[0]
        x = constrain(x, times[k + 1])
    return x


def noised(x0_bchw: Tensor, noise_bchw: Tensor, t_b: Tensor, shift: float) -> Tensor:
    """Forward diffusion: α_t x + σ_t ε."""
    alpha, sigma = alpha_sigma(t_b, shift)
    return alpha * x0_bchw + sigma * noise_bchw
