"""helps, hurts, or no difference shown: what a difference and its interval say.

An arm helps where its whole 95 % interval against the baseline lies above zero, and hurts where it
lies below. Anything else is `no difference shown`: that no difference was found is no proof that
there is none, and the interval says how large it could be. With k arms, each verdict is wrong in
one test of twenty at most, not all of them together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from pipeline.lift.bootstrap import Interval, image_weights, paired_interval
from pipeline.lift.evidence import Matches, Overlaps
from schemas.sample import FloatArray

Verdict = Literal["helps", "no difference shown", "hurts"]
Answers = Mapping[str, Sequence[Overlaps | Matches]]
"""By arm, the evidence of each seed, the same seeds in the same order."""


@dataclass(frozen=True)
class Finding:
    """One arm: its mean score, that of each class, and both against the baseline's.

    The baseline's own `difference` is None, and its verdict.
    """

    arm: str
    mean: float
    seeds: tuple[float, ...]
    classes: dict[str, float]
    difference: Interval | None = None
    class_differences: dict[str, Interval] | None = None
    verdict: Verdict | None = None


def verdict_of(difference: Interval) -> Verdict:
    """What the interval says."""
    if difference.low > 0:
        return "helps"
    return "hurts" if difference.high < 0 else "no difference shown"


def judge(
    answers: Answers,
    baseline: str,
    classes: Sequence[str],
    deciding: Sequence[str],
    resamples: int,
    seed: int = 0,
) -> list[Finding]:
    """A finding for each arm, in their order; deterministic."""
    (images,) = {one.images for evidence in answers.values() for one in evidence}
    weights_ri = image_weights(images, resamples, seed)
    scores = {arm: _scores(evidence, weights_ri) for arm, evidence in answers.items()}
    at = [classes.index(name) for name in deciding]
    between = partial(paired_interval, images=images, seed=seed)
    base_src = scores[baseline]
    findings = []
    for arm, scores_src in scores.items():
        finding = _plain(arm, scores_src, classes, at)
        if arm != baseline:
            difference = between(_mean(scores_src, at) - _mean(base_src, at))
            per_class = {
                name: between(scores_src[:, :, i] - base_src[:, :, i])
                for i, name in enumerate(classes)
            }
            finding = replace(
                finding,
                difference=difference,
                class_differences=per_class,
                verdict=verdict_of(difference),
            )
        findings.append(finding)
    return findings


def _scores(evidence: Sequence[Overlaps | Matches], weights_ri: FloatArray) -> FloatArray:
    """(seeds, resamples, classes)."""
    return np.array([[one.scores(weights_i) for weights_i in weights_ri] for one in evidence])


def _mean(scores_src: FloatArray, at: Sequence[int]) -> FloatArray:
    """(seeds, resamples): over the deciding classes that have labels there."""
    wanted = scores_src[:, :, list(at)]
    there = np.isfinite(wanted)
    total = np.where(there, wanted, 0.0).sum(axis=2)
    return np.asarray(np.where(there.any(axis=2), total / np.maximum(there.sum(axis=2), 1), np.nan))


def _plain(arm: str, scores_src: FloatArray, classes: Sequence[str], at: Sequence[int]) -> Finding:
    seeds = _mean(scores_src, at)[:, 0]
    per_class = {name: float(scores_src[:, 0, i].mean()) for i, name in enumerate(classes)}
    return Finding(arm, float(seeds.mean()), tuple(float(x) for x in seeds), per_class)
