"""Pascal VOC: Annotations, JPEGImages, ImageSets, and SegmentationClass and SegmentationObject.

Numbers are whole, begin at 1 and include the last pixel, as in VOC's development kit: a box is off
by half a pixel at most. Objects stand in the xml in the order of their numbers in the map of
objects, which is written where there are instance masks of at most 254 objects that do not overlap.
VOC's classes have no numbers: their order is in `classes.txt`; that of the class-id maps is in
`labelmap.txt`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

from pipeline.exporting.writer import ClassNames, put
from pipeline.importing.header import read_header
from schemas.sample import ByteArray, Sample

MAX_OBJECTS: Final = 254
"""255 is the border that nobody labelled."""


class VocWriter:
    """One xml an image."""

    def __init__(self, folder: Path, names: ClassNames) -> None:
        self._folder, self._names = folder, names
        self._stems: list[str] = []
        self._segmented: list[str] = []

    def add(self, name: str, image: bytes, sample: Sample) -> Sequence[str]:
        """The image, its xml and its maps."""
        file = f"{name}.{read_header(image).suffixes[0]}"
        put(self._folder / "JPEGImages" / file, image)
        put(self._folder / "Annotations" / f"{name}.xml", _xml(file, sample))
        self._stems.append(name)
        lost = []
        if sample.class_map_hw is not None:
            put(self._folder / "SegmentationClass" / f"{name}.png", _palette(sample.class_map_hw))
            self._segmented.append(name)
        if sample.objects.masks_nhw is not None:
            numbers = _object_map(sample)
            if numbers is None:
                lost.append("maps of objects: masks overlap, or are too many")
            else:
                put(self._folder / "SegmentationObject" / f"{name}.png", _palette(numbers))
        return lost

    def finish(self) -> None:
        """The lists of images and of classes."""
        for kind, stems in (("Main", self._stems), ("Segmentation", self._segmented)):
            if stems:
                path = self._folder / "ImageSets" / kind / f"{self._names.split}.txt"
                put(path, "".join(f"{stem}\n" for stem in stems))
        put(self._folder / "classes.txt", "".join(f"{name}\n" for name in self._names.classes))
        if self._segmented and self._names.seg_classes:
            lines = [f"{name}:::\n" for name in self._names.seg_classes]
            put(self._folder / "labelmap.txt", "".join(lines))

    def close(self) -> None:
        """Nothing is open."""


def _xml(file: str, sample: Sample) -> str:
    depth = sample.image_hwc.shape[2]
    size = (("width", sample.width), ("height", sample.height), ("depth", depth))
    objects = "".join(
        f"  <object>\n    <name>{escape(label)}</name>\n    <pose>Unspecified</pose>\n"
        f"    <truncated>0</truncated>\n    <difficult>0</difficult>\n    <bndbox>"
        + "".join(f"<{side}>{x}</{side}>" for side, x in _whole(box, sample).items())
        + "</bndbox>\n  </object>\n"
        for box, label in zip(sample.objects.boxes_n4.tolist(), sample.objects.labels, strict=True)
    )
    segmented = int(sample.class_map_hw is not None or sample.objects.masks_nhw is not None)
    return (
        "<annotation>\n  <folder>JPEGImages</folder>\n"
        f"  <filename>{escape(file)}</filename>\n  <size>"
        + "".join(f"<{name}>{n}</{name}>" for name, n in size)
        + f"</size>\n  <segmented>{segmented}</segmented>\n{objects}</annotation>\n"
    )


def _whole(box: Sequence[float], sample: Sample) -> dict[str, int]:
    """The nearest whole pixels, one of them at least."""
    x0, x1 = _span(box[0], box[2], sample.width)
    y0, y1 = _span(box[1], box[3], sample.height)
    return {"xmin": x0 + 1, "ymin": y0 + 1, "xmax": x1, "ymax": y1}


def _span(low: float, high: float, side: int) -> tuple[int, int]:
    start = min(int(np.floor(low + 0.5)), side - 1)
    end = int(np.floor(high + 0.5))
    if end > start:
        return start, end
    start = min(int(low), side - 1)  # less than a pixel: the one that its beginning lies in
    return start, start + 1


def _object_map(sample: Sample) -> ByteArray | None:
    masks_nhw = sample.objects.masks_nhw
    if masks_nhw is None or len(masks_nhw) > MAX_OBJECTS:
        return None
    if len(masks_nhw) and int(masks_nhw.sum(axis=0, dtype=np.uint16).max()) > 1:
        return None
    numbers_hw = np.zeros((sample.height, sample.width), np.uint8)
    for i, mask_hw in enumerate(masks_nhw):
        numbers_hw[mask_hw] = i + 1
    return numbers_hw


def _palette(ids_hw: ByteArray) -> bytes:
    """A palette PNG in VOC's colours: the bits of a number spread over red, green and blue."""
    image = Image.fromarray(ids_hw).convert("L")
    image.putpalette([_colour(i, channel) for i in range(256) for channel in range(3)])
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def _colour(number: int, channel: int) -> int:
    return sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3))
