"""A small line chart: x and y from 0 to 1, drawn larger and shrunk, so that lines are smooth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

SIZE: Final = (640, 400)
_FINE: Final = 3
_FRAME: Final = (56, 20, 620, 340)
"""Left, top, right and bottom of the plot."""
_COLOURS: Final = ((0, 110, 190), (0, 150, 110), (215, 95, 0), (150, 60, 150))
_INK: Final = (40, 40, 40)
_RULE: Final = (220, 220, 220)
_BAND: Final = (238, 243, 248)

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One curve and its name."""

    name: str
    points: Sequence[Point]


def chart(
    lines: Sequence[Line], x_name: str, band: tuple[float, float] | None = None
) -> Image.Image:
    """The curves, over a band of x that is shaded."""
    picture = Image.new("RGB", (SIZE[0] * _FINE, SIZE[1] * _FINE), (255, 255, 255))
    pen = ImageDraw.Draw(picture)
    if band is not None:
        pen.rectangle([_at((band[0], 1.0)), _at((band[1], 0.0))], fill=_BAND)
    _axes(pen, x_name)
    for line, colour in zip(lines, _COLOURS, strict=False):
        places = [_at(point) for point in line.points]
        pen.line(places, colour, 2 * _FINE, joint="curve")
        for x, y in places:
            reach = 4 * _FINE
            pen.ellipse([x - reach, y - reach, x + reach, y + reach], fill=colour)
    _legend(pen, lines)
    return picture.resize(SIZE, Image.Resampling.LANCZOS)


def _at(point: Point) -> tuple[float, float]:
    left, top, right, bottom = _FRAME
    x = left + min(max(point[0], 0.0), 1.0) * (right - left)
    y = bottom - min(max(point[1], 0.0), 1.0) * (bottom - top)
    return x * _FINE, y * _FINE


def _axes(pen: ImageDraw.ImageDraw, x_name: str) -> None:
    font = _font(13)
    for tick in range(0, 11, 2):
        share = tick / 10
        pen.line([_at((0, share)), _at((1, share))], _RULE, _FINE)
        x, y = _at((0, share))
        pen.text((x - 8 * _FINE, y), f"{share:g}", _INK, font, anchor="rm")
        x, y = _at((share, 0))
        pen.text((x, y + 6 * _FINE), f"{share:g}", _INK, font, anchor="ma")
    pen.line([_at((0, 1)), _at((0, 0)), _at((1, 0))], _INK, _FINE)
    x, y = _at((1, 0))
    pen.text((x, y + 24 * _FINE), x_name, _INK, font, anchor="ra")


def _legend(pen: ImageDraw.ImageDraw, lines: Sequence[Line]) -> None:
    x, y = _FRAME[0] * _FINE, (SIZE[1] - 16) * _FINE
    for line, colour in zip(lines, _COLOURS, strict=False):
        pen.line([(x, y), (x + 18 * _FINE, y)], colour, 3 * _FINE)
        pen.text((x + 24 * _FINE, y), line.name, _INK, _font(13), anchor="lm")
        x += (24 + 20) * _FINE + int(_font(13).getlength(line.name))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _FINE)
