"""What a lift test says: a table in Markdown, the same as JSON, and a plot."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from pipeline.lift.bootstrap import Interval
from pipeline.lift.config import LiftConfig
from pipeline.lift.verdict import Finding

PLOT: Final = "lift.png"
ENOUGH_SEEDS: Final = 5
"""With fewer, an interval is stretched by more than 1.6 (`pipeline.lift.bootstrap`)."""


def columns(config: LiftConfig) -> list[str]:
    """The heads of the table."""
    mean = f"{config.metric} %" if len(config.deciding) > 1 else f"{config.deciding[0]} %"
    return ["arm", mean, f"against {config.baseline}", "verdict", *_told_apart(config)]


def _told_apart(config: LiftConfig) -> list[str]:
    """The classes with a column of their own: not one that decides alone."""
    return [name for name in config.classes if config.deciding != (name,)]


def rows(findings: Sequence[Finding], config: LiftConfig) -> list[list[str]]:
    """One for each arm, best first; scores in per cent, differences in points."""
    return [_row(one, config) for one in sorted(findings, key=lambda one: -one.mean)]


def _row(one: Finding, config: LiftConfig) -> list[str]:
    against = "baseline" if one.difference is None else str(one.difference)
    return [
        one.arm,
        _percent(one.mean),
        against,
        one.verdict or "",
        *(_of_class(one, name) for name in _told_apart(config)),
    ]


def _of_class(one: Finding, name: str) -> str:
    score = _percent(one.classes[name])
    difference = (one.class_differences or {}).get(name)
    return score if difference is None else f"{score} ({difference})"


def _percent(score: float) -> str:
    return f"{100 * score:.1f}" if math.isfinite(score) else "none"


def markdown(
    title: str,
    findings: Sequence[Finding],
    config: LiftConfig,
    images: int,
    notes: Sequence[str],
) -> str:
    """The page."""
    heads, schooling = columns(config), config.schooling
    table = [heads, ["---"] * len(heads), *rows(findings, config)]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in table)
    seeds = "\n".join(
        f"| {one.arm} | {' | '.join(_percent(score) for score in one.seeds)} |" for one in findings
    )
    numbers = [str(n) for n in range(config.seed, config.seed + config.seeds)]
    arms = "\n".join(
        f"- {name}: `{arm.model_dump_json(exclude_defaults=True)}`"
        for name, arm in config.arms.items()
    )
    said = "\n".join(f"- {note}" for note in notes)
    return (
        f"# Lift test: {title}\n\n{_headline(findings, config)}\n\n{lines}\n\n"
        f"![differences]({PLOT})\n\n"
        f"{config.images} labelled images, drawn anew for each of {config.seeds} seeds and the "
        f"same for all arms; {config.student.kind}, {schooling.steps} steps of {schooling.batch} "
        f"crops of {schooling.crop} pixels in every arm; judged on {images} images. Differences "
        f"are paired, in points of {config.metric} over {', '.join(config.deciding)}, with 95 % "
        f"intervals by a bootstrap over seeds and images ({config.resamples} resamples). An arm "
        "helps where its interval lies above zero, and hurts where it lies below.\n\n"
        f"| seed | {' | '.join(numbers)} |\n|---|{'---|' * len(numbers)}\n{seeds}\n\n"
        f"## Arms\n\n{arms}\n\n## What the validation images were held against\n\n{said}\n"
    )


def _headline(findings: Sequence[Finding], config: LiftConfig) -> str:
    """Every verdict in a line, and a warning where there is little to go by."""
    lines = [
        f"**{one.arm}: {one.verdict}**, {one.difference} points of {config.metric} against "
        f"{config.baseline}."
        for one in findings
        if one.difference is not None
    ]
    if config.seeds < ENOUGH_SEEDS:
        lines.append(f"{config.seeds} seeds show little: take {ENOUGH_SEEDS} or more.")
    return "  \n".join(lines)


def as_json(
    findings: Sequence[Finding], config: LiftConfig, images: int, notes: Sequence[str]
) -> bytes:
    """For programs; a number that is none is null."""
    record = {
        "baseline": config.baseline,
        "metric": config.metric,
        "deciding": list(config.deciding),
        "images": images,
        "arms": [asdict(one) for one in findings],
        "checks": list(notes),
        "config": config.model_dump(mode="json", exclude={"tracking"}),
    }
    return (json.dumps(_finite(record), indent=1, sort_keys=True) + "\n").encode()


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def figures(findings: Sequence[Finding]) -> dict[str, float]:
    """What is tracked of the whole test."""
    out: dict[str, float] = {}
    for one in findings:
        out[f"score/{one.arm}"] = one.mean
        if one.difference is not None:
            out |= _figures_of(one.arm, one.difference)
    return {name: value for name, value in out.items() if math.isfinite(value)}


def _figures_of(arm: str, difference: Interval) -> dict[str, float]:
    return {
        f"difference/{arm}": difference.mean,
        f"difference_low/{arm}": difference.low,
        f"difference_high/{arm}": difference.high,
    }
