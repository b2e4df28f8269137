"""Reverse diffusion in a few steps: DPM-Solver++ (2M, midpoint; Lu et al. 2022, algorithm 2), each
sample of a batch at its own noise level.

The formulas, the order of their operations and so their bits are those of diffusers'
`DPMSolverMultistepScheduler`, which keeps one noise level per step for all; a test holds this
against one such solver per sample. Importing it costs 8 s of CPU (measured), in every actor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.diffusion.schedule import alpha_sigma, noise_ratio, time_grid

Predict = Callable[[Tensor, Tensor], Tensor]
"""(x, t of each sample) -> v."""

Constrain = Callable[[Tensor, Tensor], Tensor]
"""(x, t of each sample) -> x with what is known put back at that noise level."""


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
    times = times_kb.to(x_bchw.device, torch.float32)
    ratios_kb = noise_ratio(times_kb, shift).to(x_bchw.device, torch.float32)
    levels = [_Level.of(ratios_b) for ratios_b in ratios_kb]
    x, seen = x_bchw, x_bchw
    for k in range(steps):
        clean = levels[k].alpha * x - levels[k].sigma * predict(x, times[k])
        first_order = k in (0, steps - 1)
        before = None if first_order else (levels[k - 1], seen)
        x = _step(x.to(torch.float32), clean, levels[k], levels[k + 1], before).to(clean.dtype)
        x, seen = constrain(x, times[k + 1]), clean
    return x


@dataclass(frozen=True)
class _Level:
    """A noise level of each sample, (b, 1, 1, 1): α, σ, and λ = log α/σ."""

    alpha: Tensor
    sigma: Tensor
    snr: Tensor

    @classmethod
    def of(cls, ratio_b: Tensor) -> _Level:
        ratio = ratio_b[:, None, None, None]
        alpha = 1 / ((ratio**2 + 1) ** 0.5)
        sigma = ratio * alpha
        return cls(alpha, sigma, torch.log(alpha) - torch.log(sigma))


def _step(
    x: Tensor, clean: Tensor, now: _Level, then: _Level, before: tuple[_Level, Tensor] | None
) -> Tensor:
    """The next x; `before`: the level of the last step, and the clean image seen there."""
    h = then.snr - now.snr
    gain = then.alpha * (torch.exp(-h) - 1.0)
    x_then = (then.sigma / now.sigma) * x - gain * clean
    if before is None:
        return x_then
    last, seen = before
    r = (now.snr - last.snr) / h
    return x_then - 0.5 * gain * ((1.0 / r) * (clean - seen))


def noised(x0_bchw: Tensor, noise_bchw: Tensor, t_b: Tensor, shift: float) -> Tensor:
    """Forward diffusion: α_t x + σ_t ε."""
    alpha, sigma = alpha_sigma(t_b, shift)
    return alpha * x0_bchw + sigma * noise_bchw
