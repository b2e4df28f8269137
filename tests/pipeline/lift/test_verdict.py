"""Verdicts and intervals, by simulation with fixed seeds."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.lift.bootstrap import Interval, image_weights, paired_interval, widening
from pipeline.lift.evidence import Overlaps
from pipeline.lift.verdict import Finding, judge, verdict_of
from schemas.sample import FloatArray

PIXELS = 1000


def evidence(iou_i: FloatArray) -> Overlaps:
    """Images of so much IoU, one class, all of the same size."""
    shared = np.clip(np.round(iou_i * PIXELS), 0, PIXELS).astype(int)
    return Overlaps(shared=tuple((int(x),) for x in shared), either=((PIXELS,),) * len(shared))


def arm(gain: float, noise: float, number: int, seeds: int = 5, images: int = 12) -> list[Overlaps]:
    """Hard draws and hard images are the same in every arm; the rest is the arm's own."""
    common, own = np.random.default_rng(0), np.random.default_rng(number)
    hard = 0.7 + common.normal(0, 0.08, (seeds, 1)) + common.normal(0, 0.08, (1, images))
    return [evidence(row) for row in hard + gain + own.normal(0, noise, (seeds, images))]


def found(**arms: list[Overlaps]) -> dict[str, Finding]:
    findings = judge(arms, "real", ["disc"], ["disc"], resamples=300)
    return {one.arm: one for one in findings}


def test_a_gain_in_spite_of_hard_draws_helps_and_a_loss_hurts() -> None:
    arms = found(real=arm(0, 0.01, 1), better=arm(0.03, 0.01, 2), worse=arm(-0.03, 0.01, 3))
    assert arms["better"].verdict == "helps" and arms["worse"].verdict == "hurts"
    assert arms["better"].difference is not None
    assert arms["better"].difference.mean == pytest.approx(0.03, abs=0.005)


def test_the_same_again_shows_no_difference_and_none_at_all_where_nothing_differs() -> None:
    arms = found(real=arm(0, 0.02, 1), again=arm(0, 0.02, 2), itself=arm(0, 0.02, 1))
    assert arms["again"].verdict == "no difference shown"
    assert arms["itself"].verdict == "no difference shown"
    assert arms["itself"].difference == Interval(0, 0, 0)


def test_the_baseline_has_no_verdict() -> None:
    arms = found(real=arm(0, 0.02, 1), other=arm(0, 0.02, 2))
    assert arms["real"].verdict is None and arms["real"].difference is None


def test_a_gain_in_one_seed_of_five_is_not_shown() -> None:
    base = arm(0, 0.0, 1)
    lucky = [*arm(0.3, 0.0, 1)[:1], *base[1:]]
    assert found(real=base, lucky=lucky)["lucky"].verdict == "no difference shown"


def test_judging_twice_gives_the_same_numbers() -> None:
    arms = {"real": arm(0, 0.02, 1), "other": arm(0.01, 0.02, 2)}
    assert found(**arms) == found(**arms)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.02, "helps"),
        (-0.02, -0.01, "hurts"),
        (-0.01, 0.02, "no difference shown"),
        (0.0, 0.02, "no difference shown"),
        (float("nan"), float("nan"), "no difference shown"),
    ],
)
def test_the_interval_decides(low: float, high: float, verdict: str) -> None:
    assert verdict_of(Interval((low + high) / 2, low, high)) == verdict


@pytest.mark.parametrize("spread", [(0.03, 0.02, 0.05), (0.03, 0, 0), (0, 0.03, 0), (0, 0, 0.05)])
@pytest.mark.parametrize(("seeds", "images"), [(5, 12), (5, 6), (3, 12), (10, 40)])
def test_95_intervals_of_100_cover_the_truth(
    seeds: int, images: int, spread: tuple[float, float, float]
) -> None:
    """Where chance is in the draw, in the images, in both at once; too wide is allowed."""
    rng = np.random.default_rng(seeds * 100 + images)
    weights = image_weights(images, 300, 0) / images
    trials, covered = 300, 0
    for trial in range(trials):
        effect = rng.normal(0, spread[0], (seeds, 1)) + rng.normal(0, spread[1], (1, images))
        values = 0.02 + effect + rng.normal(0, spread[2], (seeds, images))
        interval = paired_interval(values @ weights.T, images, trial)
        covered += interval.low <= 0.02 <= interval.high
    assert covered / trials >= 0.92  # 0.95 less 2.4 of its own deviations


def test_what_is_too_narrow_is_widened_less_the_more_seeds_there_are() -> None:
    assert widening(5) == pytest.approx(1.58, abs=0.01)
    factors = [widening(n) for n in range(2, 60)]
    assert factors == sorted(factors, reverse=True) and 1 < factors[-1] < 1.04


def test_a_class_that_a_resample_misses_does_not_spoil_the_interval() -> None:
    values = np.full((3, 101), 0.1)
    values[:, 50:] = np.nan
    interval = paired_interval(values, 9, 0)
    assert (interval.low, interval.high) == pytest.approx((0.1, 0.1))
