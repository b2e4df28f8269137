"""The page of `noiseloom gates`: one HTML file with tables, pictures and a slider, nothing outside.

For each score: how it is spread, a slider that says what a threshold would keep of every group, and
source beside copy from its lowest to its highest value, of what is kept and, where it is stored, of
what is rejected. Names out of the data are escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jinja2 import Environment

from jobs.gates.pictures import Gallery, look_of
from jobs.gates.template import PAGE
from pipeline.index.spread import Line, Spread, at_quantiles, lines_of, parts_of, thresholds
from pipeline.pictures.overlay import Look
from pipeline.storage.store import Store

SHARES: Final = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
BINS: Final = 40
KNOTS: Final = 101
"""Values that the slider stops at: quantiles, so that each step moves a hundredth of the copies."""

GROUPS: Final = 40
"""Ops and classes on the page, the commonest; more would make megabytes."""

PICTURES: Final = 6
"""Of each score among the kept, and among the rejected copies."""


@dataclass(frozen=True)
class _Shown:
    """One picture and what is said of it."""

    url: str
    score: float
    key: str
    copy: int
    reason: str


@dataclass(frozen=True)
class _Section:
    """All about one score."""

    name: str
    of: int
    lines: Sequence[Line]
    slider: dict[str, object]
    strips: dict[str, list[_Shown]]


def write_page(folder: Path, store: Store, runs: Sequence[str], spread: Spread) -> Path:
    """`index.html` in this folder."""
    gallery = Gallery(store, spread.begins, Look({}))
    id_names = _id_names(gallery, runs)
    gallery.look = look_of(list(spread.classes), id_names)
    sections = [_section(spread, name, gallery) for name in spread.scores]
    rejected = sorted(spread.reasons.items(), key=lambda item: -item[1])
    html = (
        Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        .from_string(PAGE)
        .render(
            sink=store.url,
            runs=runs,
            total=len(spread),
            kept=spread.statuses.get("kept", 0),
            reasons=rejected,
            sections=sections,
            legend={name: "rgb({},{},{})".format(*c) for name, c in gallery.look.colours.items()},
            unstored=int((~spread.kept_n & ~spread.stored_n).sum())
            - spread.statuses.get("failed", 0),
            columns=["least", "5%", "25%", "median", "75%", "95%", "most"],
        )
    )
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "index.html"
    page.write_text(html, encoding="utf-8")
    return page


def _id_names(gallery: Gallery, runs: Sequence[str]) -> tuple[str, ...]:
    """The names of class ids, of the first run that has some."""
    for run in runs:
        plan = gallery.plan(run)
        if plan is not None and plan.recipe.source.seg_classes:
            return plan.recipe.source.seg_classes
    return ()


def _section(spread: Spread, name: str, gallery: Gallery) -> _Section:
    lines = lines_of(spread, name, SHARES, BINS)[: GROUPS + 3]
    values_n = spread.scores[name]
    strips = {}
    for what, among in (("kept", spread.kept_n), ("rejected", ~spread.kept_n)):
        numbers = at_quantiles(values_n, among & spread.stored_n, PICTURES)
        found = gallery.show(numbers)
        strips[what] = [
            _Shown(url, float(values_n[i]), row.source_key, row.copy, row.reason or "")
            for i, (row, url) in found.items()
        ]
    return _Section(name, len(spread), lines, _slider(spread, name), strips)


def _slider(spread: Spread, name: str) -> dict[str, object]:
    """The values that it stops at, and how many copies of each group are at least and at most that.
    Copies without the score are kept, whatever the threshold.
    """
    values_n = spread.scores[name]
    steps = thresholds(values_n[~np.isnan(values_n)], np.linspace(0, 1, KNOTS).tolist())
    at = np.array([step.value for step in steps])
    groups = []
    for group, numbers in _most(spread):
        values = values_n[numbers]
        ordered = np.sort(values[~np.isnan(values)])
        if not len(ordered):
            continue
        below, upto = (np.searchsorted(ordered, at, side=side) for side in ("left", "right"))
        least, most = (len(ordered) - below).tolist(), upto.tolist()
        groups.append({"name": group, "n": len(ordered), "least": least, "most": most})
    return {"values": [_rounded(value) for value in at.tolist()], "groups": groups}


def _most(spread: Spread) -> Iterator[tuple[str, np.ndarray]]:
    for i, part in enumerate(parts_of(spread)):
        if i < GROUPS + 3:
            yield part


def _rounded(value: float) -> float:
    return float(f"{value:.6g}") if math.isfinite(value) else value
