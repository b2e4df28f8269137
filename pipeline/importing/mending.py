"""One image's annotations -> its instances: checked, cut to the image, and every change a finding.

Boxes end inside the image with an area, to 4 decimals; masks have a pixel; an image has a mask for
every object or for none. What cannot be mended is dropped, with its slug.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pipeline.importing.drawing import ROUNDING_PX, box_of, draw
from pipeline.importing.findings import Finding, dropped, repaired
from pipeline.importing.records import Annotation, Box, Mask, ObjectId, Polygons, Runs
from pipeline.labels.files import MAX_MASK_PIXELS
from schemas.errors import SampleError

DECIMALS: Final = 4
FAR_PX, FAR_SHARE = 2.0, 0.05
"""How far a box may be from its mask's: COCO's are of the outline, not of the pixels drawn."""


@dataclass(frozen=True)
class Instance:
    """An object to be written. `mended`: not as it stood; `count`: of so many annotations."""

    label: str
    box: Box
    runs: Runs | None
    mended: bool
    count: int


Draw = Callable[[Mask, str], tuple[Runs, list[Finding]]]


def mend(
    annotations: Sequence[Annotation], hw: tuple[int, int], by_id: dict[int, Runs] | None = None
) -> tuple[list[Instance], list[Finding]]:
    """What is written of them, and what was found."""

    def draw_one(mask: Mask, place: str) -> tuple[Runs, list[Finding]]:
        if not isinstance(mask, ObjectId):
            return draw(mask, hw, place)
        if by_id is None or mask.number not in by_id:
            raise SampleError("mask_empty", f"no pixel of object {mask.number}")
        return by_id[mask.number], []

    instances: list[Instance] = []
    findings: list[Finding] = []
    seen: set[tuple[str, Box, Runs | None]] = set()
    for annotation in annotations:
        instance, found = _mend_one(annotation, hw, draw_one)
        if instance is not None:
            same = (instance.label, instance.box, instance.runs)
            if same in seen:
                n, place = instance.count, annotation.place
                instance, found = None, [dropped("duplicate_object", place, annotations=n)]
            seen.add(same)
        instances += [instance] if instance else []
        findings += found
    place = annotations[0].place if annotations else ""
    whole, more = _all_or_none(instances, hw, place)
    return whole, findings + more


def absolute(annotation: Annotation, wh: tuple[int, int]) -> Annotation:
    """Shares of width and height as pixels."""
    width, height = wh
    box, mask = annotation.box, annotation.mask
    if box is not None:
        box = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    if isinstance(mask, Polygons):
        scales = (width, height)
        parts = [tuple(x * scales[i % 2] for i, x in enumerate(part)) for part in mask.parts]
        mask = Polygons(tuple(parts))
    return replace(annotation, box=box, mask=mask)


def fit(box: Box, hw: tuple[int, int], place: str) -> tuple[Box, list[Finding]]:
    """A box inside its image; SampleError where none of it is."""
    said = f"[{', '.join(f'{x:g}' for x in box)}] in {hw[1]}x{hw[0]}"
    if not all(map(math.isfinite, box)):
        raise SampleError("box_not_finite", said)
    found: list[Finding] = []
    x0, x1 = sorted((box[0], box[2]))
    y0, y1 = sorted((box[1], box[3]))
    if (x0, y0, x1, y1) != box:
        found.append(repaired("box_reversed", place, said))
    if x0 == x1 or y0 == y1:
        raise SampleError("box_empty", said)
    height, width = hw
    reach = max(0.0, -x0, -y0, x1 - width, y1 - height)
    inner = (_cut(x0, width), _cut(y0, height), _cut(x1, width), _cut(y1, height))
    if inner[0] >= inner[2] or inner[1] >= inner[3]:
        raise SampleError("box_outside" if reach else "box_empty", said)
    if reach > ROUNDING_PX:
        found.append(repaired("box_clipped", place, f"by {reach:.2f} pixels: {said}", px=reach))
    return inner, found


def _cut(x: float, end: int) -> float:
    return round(min(max(x, 0.0), float(end)), DECIMALS)


def _mend_one(
    annotation: Annotation, hw: tuple[int, int], draw_one: Draw
) -> tuple[Instance | None, list[Finding]]:
    found = list(annotation.findings)
    place, box, runs = annotation.place, None, None
    if not annotation.label or not annotation.label.isprintable():
        return _gone(annotation, SampleError("bad_class_name", repr(annotation.label)))
    if annotation.mask is not None:
        try:
            runs, more = draw_one(annotation.mask, place)
            found += more
        except SampleError as error:
            if annotation.box is None or error.slug == "mask_empty":
                return _gone(annotation, error)
            found.append(
                repaired(error.slug, place, f"{error.detail}; its box is kept".strip("; "))
            )
    if annotation.box is not None:
        try:
            box, more = fit(annotation.box, hw, place)
            found += more
        except SampleError as error:
            if runs is None:
                return _gone(annotation, error)
            found.append(repaired(error.slug, place, f"{error.detail}: the mask's box is taken"))
    if runs is not None:
        box, more = _tight(box, box_of(runs, hw[0]), place)
        found += more
    if box is None:
        return _gone(annotation, SampleError("box_missing", ""))
    mended = any(finding.fate == "repaired" for finding in found)
    return Instance(annotation.label, box, runs, mended, annotation.count), found


def _gone(annotation: Annotation, error: SampleError) -> tuple[None, list[Finding]]:
    """Dropped: what was repaired of it before does not count any more."""
    lost = dropped(error.slug, annotation.place, error.detail, annotations=annotation.count)
    return None, [lost]


def _tight(box: Box | None, tight: Box, place: str) -> tuple[Box, list[Finding]]:
    if box is None:
        return tight, []
    apart = max(abs(a - b) for a, b in zip(box, tight, strict=True))
    if apart <= max(FAR_PX, FAR_SHARE * max(tight[2] - tight[0], tight[3] - tight[1])):
        return box, []
    detail = f"by {apart:.2f} pixels"
    return tight, [repaired("box_not_of_mask", place, detail, px=apart)]


def _all_or_none(
    instances: list[Instance], hw: tuple[int, int], place: str
) -> tuple[list[Instance], list[Finding]]:
    """Masks of all objects, or of none."""
    count = Counter(instance.runs is not None for instance in instances)
    if not count[True]:
        return instances, []
    slug = "masks_incomplete" if count[False] else "masks_too_large"
    if not count[False] and len(instances) * hw[0] * hw[1] <= MAX_MASK_PIXELS:
        return instances, []
    detail = f"{count[True]} of {len(instances)} objects of the image have one"
    found = [repaired(slug, place, detail) for instance in instances if instance.runs is not None]
    bare = [replace(i, runs=None, mended=i.mended or i.runs is not None) for i in instances]
    return bare, found
