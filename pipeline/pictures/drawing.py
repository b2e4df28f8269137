"""Pictures for people: images with their labels drawn, and contact sheets of them.

A sheet is rows of tiles of one height. Images keep their shape: large ones are shrunk (Lanczos),
small ones enlarged, and from twice their size on without smoothing, so that pixels stay visible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.pictures.overlay import Colour, Look, draw, look_for, scaled
from schemas.sample import ByteArray, Sample

TILE_HEIGHT: Final = 280
TILE_WIDTH: Final = 400

_MARGIN: Final = 28
_GAP: Final = 14
_LINES: Final = 3
_PAPER: Final[Colour] = (255, 255, 255)
_INK: Final[Colour] = (25, 25, 25)
_GREY: Final[Colour] = (110, 110, 110)
_RULE: Final[Colour] = (215, 215, 215)
_TITLE: Final = 26
_HEADER: Final = 17
_CAPTION: Final = 14


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture of a sheet, and what is said below it, line by line."""

    image: ByteArray
    caption: str = ""


@dataclass(frozen=True)
class Frame:
    """What is around the rows: title, a note below it, names of columns and rows, a legend."""

    title: str = ""
    note: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[str] = ()
    legend: Mapping[str, Colour] = field(default_factory=dict)


def draw_labels(sample: Sample, look: Look | None = None) -> ByteArray:
    """The image, at its own size, with boxes and outlines over it."""
    return np.asarray(draw(sample, look or look_for([sample])))


def tile_scale(height: int, width: int) -> float:
    """How much larger an image of this size is shown on a sheet."""
    return min(TILE_HEIGHT / height, TILE_WIDTH / width)


def contact_sheet(rows: Sequence[Sequence[Tile]], frame: Frame | None = None) -> Image.Image:
    """All tiles on white, in columns."""
    frame = frame or Frame()
    images = [[_fitted(tile.image) for tile in row] for row in rows]
    widths = [
        max(image.width if image else 0 for image in column)
        for column in zip_longest(*images, fillvalue=None)
    ]
    inner = max(sum(widths) + _GAP * max(0, len(widths) - 1), 360)
    captions = [[_wrapped(tile.caption, widths[i]) for i, tile in enumerate(row)] for row in rows]
    sheet = _Sheet(inner + 2 * _MARGIN, _height(captions, frame, inner))
    sheet.head(frame, widths)
    for image_row, caption_row, name in zip_longest(images, captions, frame.rows, fillvalue=None):
        sheet.row(image_row or [], caption_row or [], widths, name or "")
    return sheet.picture


class _Sheet:
    """A sheet that is filled from the top. `y` is where the next thing goes."""

    def __init__(self, width: int, height: int) -> None:
        self.picture = Image.new("RGB", (width, height), _PAPER)
        self.pen = ImageDraw.Draw(self.picture)
        self.y = _MARGIN

    def head(self, frame: Frame, widths: Sequence[int]) -> None:
        inner = self.picture.width - 2 * _MARGIN
        for text, size, colour in ((frame.title, _TITLE, _INK), (frame.note, _CAPTION, _GREY)):
            for line in _lines(text, inner, size):
                self._line(_MARGIN, line, size, colour)
        if frame.legend:
            self._legend(frame.legend, inner)
        if frame.columns:
            self.y += _GAP
            x = _MARGIN
            for name, width in zip(frame.columns, widths, strict=False):
                self.pen.text((x, self.y), name, _GREY, _font(_CAPTION))
                x += width + _GAP
            self.y += _step(_CAPTION)

    def row(
        self,
        images: Sequence[Image.Image],
        captions: Sequence[Sequence[str]],
        widths: Sequence[int],
        name: str,
    ) -> None:
        self.y += _GAP
        if name:
            right = self.picture.width - _MARGIN
            self.pen.line([(_MARGIN, self.y), (right, self.y)], _RULE)
            self.y += 6
            self._line(_MARGIN, name, _HEADER, _INK)
            self.y += 4
        x = _MARGIN
        for image, lines, width in zip(images, captions, widths, strict=False):
            self.picture.paste(image, (x, self.y))
            for i, line in enumerate(lines):
                y = self.y + TILE_HEIGHT + 4 + i * _step(_CAPTION)
                self.pen.text((x, y), line, _INK if i == 0 else _GREY, _font(_CAPTION))
            x += width + _GAP
        self.y += TILE_HEIGHT + 4 + _deepest(captions) * _step(_CAPTION)

    def _line(self, x: int, text: str, size: int, colour: Colour) -> None:
        self.pen.text((x, self.y), text, colour, _font(size))
        self.y += _step(size)

    def _legend(self, legend: Mapping[str, Colour], inner: int) -> None:
        self.y += 8
        x = _MARGIN
        for name, colour in legend.items():
            width = _swatch(name)
            if x + width > _MARGIN + inner and x > _MARGIN:
                x, self.y = _MARGIN, self.y + _step(_CAPTION)
            box = [x, self.y + 2, x + 13, self.y + 15]
            self.pen.rectangle(box, fill=colour, outline=_GREY)
            self.pen.text((x + 20, self.y), name, _INK, _font(_CAPTION))
            x += width
        self.y += _step(_CAPTION)


def _height(
    captions: Sequence[Sequence[Sequence[str]]],
    frame: Frame,
    inner: int,
) -> int:
    """Found by filling a sheet of no height: one place knows the layout."""
    trial = _Sheet(inner + 2 * _MARGIN, 1)
    trial.head(frame, [0] * len(frame.columns))
    for lines, name in zip_longest(captions, frame.rows, fillvalue=None):
        trial.row([], lines or [], [], name or "")
    return trial.y + _MARGIN


def _fitted(image: ByteArray) -> Image.Image:
    return scaled(image, tile_scale(image.shape[0], image.shape[1]))


def _wrapped(caption: str, width: int) -> list[str]:
    lines = [line for part in caption.splitlines() for line in _lines(part, width, _CAPTION)]
    return lines if len(lines) <= _LINES else [*lines[: _LINES - 1], lines[_LINES - 1][:-1] + "…"]


def _lines(text: str, width: int, size: int) -> list[str]:
    """Words to lines that fit. A word that is wider than the line keeps one to itself."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _deepest(captions: Sequence[Sequence[str]]) -> int:
    return max((len(lines) for lines in captions), default=0)


def _swatch(name: str) -> int:
    return 20 + round(_font(_CAPTION).getlength(name)) + 22


def _step(size: int) -> int:
    return round(size * 1.35)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
