"""Intervals of paired differences, over seeds and validation images at once.

Seeds and images are both drawn anew, and what was drawn holds for all arms, so that a hard draw or
a hard image is hard for both sides of a difference (Owen 2007, doi:10.1214/07-AOAS122, the
pigeonhole bootstrap; here each factor is drawn with the other as it was, and their deviations are
added). It is rather too wide than too narrow, for what seed and image have in common counts twice:
in simulations 95 % intervals held the truth in 93 to 99 of 100 (tests/pipeline/lift).

Percentiles of five values are too narrow: their spread is √((n-1)/n) of the true one, and normal
quantiles stand where Student's belong (Hesterberg 2015, doi:10.1080/00031305.2015.1089789, the
"narrowness bias"). So the deviations of n seeds are stretched by √(n/(n-1)) · t/z, by 1.58 for five
of them; those of images likewise. Everything is a function of the numbers and one seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.seeds import rng_for
from schemas.sample import FloatArray

_Z: Final = 1.959964
_T: Final = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip
"""Student's t at 0.975, for 1 to 30 degrees of freedom; beyond, Fisher's first term will do."""


@dataclass(frozen=True)
class Interval:
    """A mean and where it lies with 95 %."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.mean:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


def image_weights(images: int, resamples: int, seed: int) -> FloatArray:
    """(1 + resamples, images): how often each image counts; the first row is every image once."""
    rng = rng_for(seed, "images", resamples, "bootstrap")
    drawn = rng.multinomial(images, np.full(images, 1 / images), size=resamples)
    return np.vstack([np.ones((1, images)), drawn.astype(np.float64)])


def paired_interval(difference_sr: FloatArray, images: int, seed: int) -> Interval:
    """Of a difference of each seed (rows) in each resample of the images; column 0: all of them."""
    seeds, columns = difference_sr.shape
    mean = float(difference_sr[:, 0].mean())
    rng = rng_for(seed, "seeds", columns, "bootstrap")
    chosen_rs = rng.integers(seeds, size=(columns - 1, seeds))
    by_seed_r = widening(seeds) * (difference_sr[:, 0][chosen_rs].mean(axis=1) - mean)
    by_image_r = widening(images) * (difference_sr[:, 1:].mean(axis=0) - mean)
    deviations_r = (by_seed_r + by_image_r)[np.isfinite(by_image_r)]  # nan: without the class
    if not len(deviations_r) or not np.isfinite(mean):
        return Interval(mean, float("nan"), float("nan"))
    low, high = (float(q) for q in np.percentile(deviations_r, [2.5, 97.5]))
    return Interval(mean, mean + low, mean + high)


def widening(many: int) -> float:
    """What the percentiles of so few seeds or images miss; infinite for one."""
    if many < 2:
        return float("inf")
    freedom = many - 1
    t = _T[freedom - 1] if freedom <= len(_T) else _Z + (_Z**3 + _Z) / (4 * freedom)
    return float(np.sqrt(many / freedom) * t / _Z)
