"""The few-step solver: a batch of noise levels is the same as one plain solver per sample."""

from __future__ import annotations

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from pipeline.diffusion.sampler import denoise, noised
from pipeline.diffusion.schedule import T_MAX, alpha_sigma, noise_ratio, time_grid

SHIFT = 2.0


def wave(x: Tensor, t_b: Tensor) -> Tensor:
    """A smooth stand-in for a network, elementwise."""
    return torch.sin(x * 3) * t_b.view(-1, 1, 1, 1) - 0.3 * x


def one_plain_solver(x_chw: Tensor, strength: float, steps: int) -> Tensor:
    """diffusers' own solver with its own scalar noise levels."""
    times = time_grid(torch.tensor([strength]), steps)[:, 0]
    scheduler = DPMSolverMultistepScheduler(prediction_type="v_prediction")
    scheduler.set_timesteps(steps)
    scheduler.sigmas = noise_ratio(times, SHIFT).float()
    scheduler.set_begin_index(0)
    x = x_chw[None]
    for k, timestep in enumerate(scheduler.timesteps):
        x = scheduler.step(wave(x, times[k : k + 1].float()), timestep, x, return_dict=False)[0]
    return x[0]


def test_a_level_per_sample_is_one_plain_solver_per_sample() -> None:
    x = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    strengths = [0.25, 0.6, 1.0]
    together = denoise(x, torch.tensor(strengths), 7, SHIFT, wave, lambda x, _: x)
    for i, strength in enumerate(strengths):
        torch.testing.assert_close(
            together[i], one_plain_solver(x[i], strength, 7), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("steps", [1, 2, 3, 14, 15, 40])
def test_the_bits_are_those_of_diffusers_solver(steps: int) -> None:
    """Where that is given a tensor, (b, 1, 1, 1), in the place of each noise level."""
    strengths = torch.tensor([0.1, 0.25, 0.6, 1.0])
    x = torch.randn(4, 3, 17, 9, generator=torch.Generator().manual_seed(1))
    ours = denoise(x, strengths, steps, SHIFT, wave, lambda x, _: x)
    times_kb = time_grid(strengths, steps)
    scheduler = DPMSolverMultistepScheduler(prediction_type="v_prediction")
    scheduler.set_timesteps(steps)
    scheduler.sigmas = noise_ratio(times_kb, SHIFT).float()[:, :, None, None, None]
    scheduler.set_begin_index(0)
    for k, timestep in enumerate(scheduler.timesteps):
        x = scheduler.step(wave(x, times_kb[k].float()), timestep, x, return_dict=False)[0]
    assert torch.equal(ours, x)


def test_a_perfect_network_brings_the_image_back_from_every_strength() -> None:
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(4, 3, 8, 8, generator=generator)
    noise = torch.randn(4, 3, 8, 8, generator=generator)
    strengths = torch.tensor([0.1, 0.4, 0.8, 1.0])

    def oracle(x: Tensor, t_b: Tensor) -> Tensor:
        alpha, sigma = alpha_sigma(t_b, SHIFT)
        return alpha * ((x - alpha * image) / sigma) - sigma * image

    out = denoise(
        noised(image, noise, strengths, SHIFT), strengths, 6, SHIFT, oracle, lambda x, _: x
    )
    torch.testing.assert_close(out, image, rtol=0, atol=2e-3)


def test_what_is_constrained_at_every_step_is_constrained_in_the_result() -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    half = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    half[..., :4] = True
    seen: list[float] = []

    def constrain(x: Tensor, t_b: Tensor) -> Tensor:
        seen.append(float(t_b[0]))
        return torch.where(half, torch.full_like(x, 0.5), x)

    out = denoise(x, torch.tensor([0.5, 0.9]), 5, SHIFT, wave, constrain)
    assert (out[..., :4] == 0.5).all()
    assert not (out[..., 4:] == 0.5).any()
    assert len(seen) == 5 and seen[-1] == 0.0


def test_the_schedule_keeps_the_variance_and_ends_in_noise() -> None:
    t = torch.linspace(0, 1, 11)
    alpha, sigma = alpha_sigma(t, SHIFT)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(11, 1, 1, 1))
    assert alpha[0].item() == 1.0
    assert alpha[-1].item() < 0.005
    assert float(noise_ratio(torch.tensor(2.0), 1.0)) == float(
        noise_ratio(torch.tensor(T_MAX), 1.0)
    )
