"""The noise schedule: variance preserving, cosine, shifted towards more noise for large images.

A noised image is x_t = α_t x + σ_t ε with α² + σ² = 1, and the time t in [0, 1] is what a recipe
calls `strength`. σ/α = shift · tan(πt/2): the cosine schedule of Nichol & Dhariwal 2021 in
Hoogeboom et al. 2023 ("simple diffusion", eq. 5: shift = image size / 64). With a shift, the same
strength reaches larger structures, not only pixel noise. The network predicts v = α ε − σ x
(Salimans & Ho 2022, app. D).
"""

from __future__ import annotations

import torch
from torch import Tensor

T_MAX = 0.995
"""t = 1 would be pure noise, where σ/α is infinite; at 0.995 and shift 2, α is 0.004."""


def noise_ratio(t: Tensor, shift: float) -> Tensor:
    """σ/α at these times."""
    return shift * torch.tan(t.clamp(0, T_MAX) * (torch.pi / 2))


def alpha_sigma(t: Tensor, shift: float) -> tuple[Tensor, Tensor]:
    """α and σ at these times, shaped (b, 1, 1, 1) to be multiplied with images."""
    ratio = noise_ratio(t, shift).view(-1, 1, 1, 1)
    alpha = torch.rsqrt(1 + ratio**2)
    return alpha, ratio * alpha


def time_grid(strengths: Tensor, steps: int) -> Tensor:
    """Times from each strength down to 0, (steps + 1, b), evenly spaced in t."""
    fractions = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return fractions[:, None] * strengths.to(torch.float64).clamp(0, T_MAX)[None, :]
