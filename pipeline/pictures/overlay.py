"""Labels drawn over an image: boxes, instance outlines and class regions, in a colour per class.

Everything is drawn at the size at which it is looked at, smooth, with a dark rim that keeps it
visible on any background. Colours come from names, so one class has one colour on a whole sheet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from pipeline.images.depth import shown
from schemas.sample import IGNORE_ID, BoolArray, FloatArray, ImageArray, Sample

Colour = tuple[int, int, int]
Colours = Mapping[str, Colour]

# Bright, and apart from each other for colour-blind readers, too (after Okabe and Ito 2008).
PALETTE: Final[tuple[Colour, ...]] = (
    (0, 200, 255),
    (255, 170, 0),
    (60, 220, 90),
    (255, 80, 200),
    (255, 230, 40),
    (120, 130, 255),
    (255, 95, 60),
    (0, 210, 170),
    (200, 200, 200),
    (170, 110, 60),
)
_RIM: Final[Colour] = (10, 10, 10)
_RIM_OPACITY: Final = 0.45
_TINT_OPACITY: Final = 0.25
_FINE: Final = 3  # lines are drawn this many times larger, then shrunk: smooth edges


@dataclass(frozen=True)
class Look:
    """How labels are drawn: a colour per class name, and the names of the class ids."""

    colours: Colours
    id_names: tuple[str, ...] = ()

    def colour(self, name: str) -> Colour:
        """Grey for a class without a colour of its own."""
        return self.colours.get(name, (190, 190, 190))

    def id_name(self, class_id: int) -> str:
        """The name of a class id."""
        known = class_id < len(self.id_names)
        return self.id_names[class_id] if known else f"class {class_id}"


def look_for(samples: Iterable[Sample], id_names: Sequence[str] = ()) -> Look:
    """One look for all these samples: colours in the order of the class names."""
    look = Look({}, tuple(id_names))
    found: set[str] = set()
    for sample in samples:
        found.update(sample.objects.labels)
        found.update(look.id_name(class_id) for class_id in _drawn_ids(sample))
    order = sorted(found)
    return Look({name: PALETTE[i % len(PALETTE)] for i, name in enumerate(order)}, look.id_names)


def draw(sample: Sample, look: Look, scale: float = 1.0) -> Image.Image:
    """The image at this scale (both sides alike), with its labels over it."""
    picture = scaled(sample.image_hwc, scale)
    lines = _Lines(picture.size, sample)
    names = sorted({*sample.objects.labels, *map(look.id_name, _drawn_ids(sample))})
    for name in names:
        lines.regions_over(picture, name, look)
    for name in names:
        lines.boxes_over(picture, name, look)
    return picture


def scaled(image_hwc: ImageArray, scale: float) -> Image.Image:
    """The image at this scale; from twice its size on its pixels stay visible."""
    picture = Image.fromarray(shown(image_hwc))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    if size == picture.size:
        return picture
    smooth = scale < 2
    return picture.resize(size, Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST)


def _drawn_ids(sample: Sample) -> list[int]:
    """The class ids with an outline of their own: 0 is what surrounds the others."""
    if sample.class_map_hw is None:
        return []
    return [int(i) for i in np.unique(sample.class_map_hw) if i not in (0, IGNORE_ID)]


class _Lines:
    """The outlines of one sample, on a canvas that is `_FINE` times the picture."""

    def __init__(self, size: tuple[int, int], sample: Sample) -> None:
        self.size = size
        self.canvas = size[0] * _FINE, size[1] * _FINE
        self.sample = sample
        self.zoom = np.array([self.canvas[0] / sample.width, self.canvas[1] / sample.height])
        self.width = _line_width(sample.objects.boxes_n4 * np.tile(self.zoom, 2))

    def regions_over(self, picture: Image.Image, name: str, look: Look) -> None:
        """The tint and the outlines of one class, onto the picture."""
        tint, lines = Image.new("L", self.canvas), Image.new("L", self.canvas)
        for mask_hw in self._regions(name, look):
            self._region(mask_hw, max(_FINE, self.width * 2 // 3), tint, lines)
        self._paste(picture, tint, _TINT_OPACITY, look.colour(name))
        self._paste(picture, lines, 1, look.colour(name))

    def boxes_over(self, picture: Image.Image, name: str, look: Look) -> None:
        """The boxes of one class, with their rims, onto the picture."""
        rims, lines = Image.new("L", self.canvas), Image.new("L", self.canvas)
        rim = 2 * max(2, self.width // 2)
        for box in self._boxes(name):
            self._box(rims, box, self.width + rim)
            self._box(lines, box, self.width)
        self._paste(picture, rims, _RIM_OPACITY, _RIM)
        self._paste(picture, lines, 1, look.colour(name))

    def _paste(
        self, picture: Image.Image, mask: Image.Image, opacity: float, colour: Colour
    ) -> None:
        if mask.getbbox() is None:
            return
        smooth = mask.resize(self.size, Image.Resampling.BOX)
        picture.paste(colour, mask=smooth.point([round(value * opacity) for value in range(256)]))

    def _boxes(self, name: str) -> list[FloatArray]:
        objects = self.sample.objects
        return [
            box
            for box, label in zip(objects.boxes_n4, objects.labels, strict=True)
            if label == name
        ]

    def _regions(self, name: str, look: Look) -> Iterator[BoolArray]:
        """Instance masks, and the class-id map where there are none."""
        objects = self.sample.objects
        if objects.masks_nhw is not None:
            yield from (
                m
                for m, label in zip(objects.masks_nhw, objects.labels, strict=True)
                if label == name
            )
        elif self.sample.class_map_hw is not None:
            for class_id in _drawn_ids(self.sample):
                if look.id_name(class_id) == name:
                    yield self.sample.class_map_hw == class_id

    def _box(self, coverage: Image.Image, box: FloatArray, width: int) -> None:
        """A frame whose middle lies on the edge of the box, inside the picture."""
        half = self.width / 2  # the rim of an edge that touches the border is cut off, its line not
        limit = np.array(self.canvas) - half
        x0, y0 = np.clip(box[:2] * self.zoom, half, limit)
        x1, y1 = np.clip(box[2:] * self.zoom, half, limit)
        reach = width / 2
        frame = [x0 - reach, y0 - reach, x1 + reach - 1, y1 + reach - 1]
        ImageDraw.Draw(coverage).rectangle(frame, outline=255, width=width)

    def _region(
        self, mask_hw: BoolArray, width: int, tint: Image.Image, lines: Image.Image
    ) -> None:
        """A region and its border, smooth although its pixels are enlarged."""
        rows, columns = np.flatnonzero(mask_hw.any(axis=1)), np.flatnonzero(mask_hw.any(axis=0))
        if not rows.size:
            return
        margin = 2
        top, left = max(0, rows[0] - margin), max(0, columns[0] - margin)
        part = mask_hw[top : rows[-1] + 1 + margin, left : columns[-1] + 1 + margin]
        corner = np.round(np.array([left, top]) * self.zoom).astype(int)
        size = np.maximum(1, np.round(np.array(part.shape[::-1]) * self.zoom).astype(int))
        drawn = Image.fromarray(part.astype(np.uint8) * 255)
        region = drawn.resize((int(size[0]), int(size[1])), Image.Resampling.BICUBIC)
        region = region.point(lambda value: 255 if value > 127 else 0)
        side = 2 * (width // 2) + 1
        border = ImageChops.subtract(region, region.filter(ImageFilter.MinFilter(side)))
        place = int(corner[0]), int(corner[1])
        tint.paste(255, place, region)
        lines.paste(255, place, border)


def _line_width(boxes_n4: FloatArray) -> int:
    """Two pixels, or one where half of the boxes are so small that two would hide them."""
    if not len(boxes_n4):
        return 2 * _FINE
    sides = (boxes_n4[:, 2:] - boxes_n4[:, :2]).min(axis=1) / _FINE
    return 2 * _FINE if np.median(sides) >= 20 else round(1.25 * _FINE)
