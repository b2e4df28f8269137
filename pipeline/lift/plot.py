"""The differences as a picture: a line for each arm, from the one end of its interval to the other,
a point at the mean, small points for the seeds, and zero, where the baseline is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from pipeline.lift.verdict import Finding

_WIDTH: Final = 760
_ROW: Final = 44
_LEFT, _RIGHT = 190, 720
_TOP: Final = 20
_FINE: Final = 3
_INK: Final = (40, 40, 40)
_RULE: Final = (220, 220, 220)
_COLOURS: Final = {
    "helps": (0, 130, 90),
    "no difference shown": (110, 110, 120),
    "hurts": (200, 60, 30),
}


def plot(findings: Sequence[Finding], baseline: str, metric: str) -> Image.Image:
    """All arms against the baseline, in points."""
    arms = [one for one in findings if one.difference is not None]
    (base,) = [one for one in findings if one.arm == baseline]
    reach = _reach(arms, base)
    size = (_WIDTH, _TOP + _ROW * len(arms) + 56)
    picture = Image.new("RGB", (size[0] * _FINE, size[1] * _FINE), (255, 255, 255))
    pen = ImageDraw.Draw(picture)
    bottom = _TOP + _ROW * len(arms)
    step = _step(reach)
    for i in range(-math.floor(reach / step), math.floor(reach / step) + 1):
        x = _x(i * step, reach)
        colour = _INK if i == 0 else _RULE
        _line(pen, (x, _TOP), (x, bottom), colour, 1)
        _text(pen, (x, bottom + 6), f"{i * step:+g}" if i else "0", "ma")
    _text(pen, (_RIGHT, bottom + 28), f"points of {metric} against {baseline}", "ra")
    for row, one in enumerate(arms):
        _arm(pen, one, base, _TOP + _ROW * row + _ROW // 2, reach)
    return picture.resize(size, Image.Resampling.LANCZOS)


def _arm(pen: ImageDraw.ImageDraw, one: Finding, base: Finding, y: int, reach: float) -> None:
    if one.difference is None or one.verdict is None:
        return
    colour = _COLOURS[one.verdict]
    _text(pen, (_LEFT - 12, y - 8), one.arm, "rm")
    _text(pen, (_LEFT - 12, y + 8), one.verdict, "rm", colour)
    low, high = (_x(100 * v, reach) for v in (one.difference.low, one.difference.high))
    _line(pen, (low, y), (high, y), colour, 3)
    for end in (low, high):
        _line(pen, (end, y - 5), (end, y + 5), colour, 2)
    for mine, its in zip(one.seeds, base.seeds, strict=True):
        _dot(pen, (_x(100 * (mine - its), reach), y + 11), 2, colour)
    _dot(pen, (_x(100 * one.difference.mean, reach), y), 5, colour)


def _reach(arms: Sequence[Finding], base: Finding) -> float:
    """The farthest that anything lies from zero, in points."""
    ends = [1.0]
    for one in arms:
        if one.difference is not None:
            ends += [100 * abs(one.difference.low), 100 * abs(one.difference.high)]
        ends += [100 * abs(a - b) for a, b in zip(one.seeds, base.seeds, strict=True)]
    return 1.05 * max(end for end in ends if math.isfinite(end))


def _step(reach: float) -> float:
    """1, 2 or 5 times a power of ten: at most six marks to either side."""
    unit = 10.0 ** math.floor(math.log10(reach / 2))
    return next(unit * k for k in (1, 2, 5, 10) if reach / (unit * k) <= 6)


def _x(points: float, reach: float) -> float:
    share = (min(max(points, -reach), reach) + reach) / (2 * reach)
    return _LEFT + share * (_RIGHT - _LEFT)


Place = tuple[float, float]
Colour = tuple[int, int, int]


def _line(pen: ImageDraw.ImageDraw, a: Place, b: Place, colour: Colour, width: int) -> None:
    pen.line([(v[0] * _FINE, v[1] * _FINE) for v in (a, b)], colour, width * _FINE)


def _dot(pen: ImageDraw.ImageDraw, at: Place, radius: int, colour: Colour) -> None:
    x, y, r = at[0] * _FINE, at[1] * _FINE, radius * _FINE
    pen.ellipse([x - r, y - r, x + r, y + r], fill=colour)


def _text(
    pen: ImageDraw.ImageDraw, at: Place, text: str, anchor: str, colour: Colour = _INK
) -> None:
    font = ImageFont.load_default(13 * _FINE)
    pen.text((at[0] * _FINE, at[1] * _FINE), text, colour, font, anchor=anchor)
