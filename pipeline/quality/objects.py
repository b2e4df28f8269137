"""`inpaint: remove` and `inpaint: redraw`, judged by a detector that was trained on real data.

An object counts as seen where a sure detection (from its class's threshold on) overlaps its box
with an IoU of 0.5 or more. Removed objects: by a detection of whatever class. Redrawn ones: of
their own class, relative to how many of the same objects are seen in the original. OpenCV's filling
of the same region is the baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.detection.agreement import MIN_IOU, matched
from pipeline.detection.detector import Detector
from pipeline.labels.geometry import iou
from pipeline.model import Detections, Model
from pipeline.ops.inpaint import Inpaint
from pipeline.pictures.drawing import Frame, Tile, contact_sheet
from pipeline.quality.apply import BASELINES, NAME, applied, filled, holed
from pipeline.quality.table import Check, Result, Row, Table, Track, at_least, at_most, share_of
from schemas.sample import ByteArray, Instances, Sample

Region = Literal["remove", "redraw"]
MakeOp = Callable[[Region], Inpaint]
OURS = "noiseloom"
SHOWN = 5


def default_op(region: Region) -> Inpaint:
    """The op as a recipe gets it that says nothing else."""
    return Inpaint.model_validate({"model": NAME, "region": region})


@dataclass
class _Counts:
    """Per class: how many objects, and how many of them are seen, per picture."""

    n: dict[str, int] = field(default_factory=dict)
    seen: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, name: str, picture: str, seen: bool) -> None:
        """One object of this class in this picture."""
        if picture == "original":
            self.n[name] = self.n.get(name, 0) + 1
        of = self.seen.setdefault(picture, {})
        of[name] = of.get(name, 0) + int(seen)

    def total(self, picture: str) -> int:
        """Of all classes."""
        return sum(self.seen[picture].values())


def object_experiment(
    region: Region,
    model: Model,
    detector: Detector,
    samples: Sequence[Sample],
    seed: int,
    track: Track,
    make_op: MakeOp = default_op,
) -> Result:
    """The table of one region."""
    op = make_op(region)
    counts = _Counts()
    shown: list[list[Tile]] = []
    for sample in track(samples, f"inpaint {region}"):
        made = applied(op, sample, model, seed)
        if made is None:
            continue
        chosen = sample.objects.take(made[0]["objects"])
        mask = op._mask(sample, made[0])
        pictures = {"original": sample.rgb_hwc, OURS: made[1].rgb_hwc}
        pictures |= {name: filled(sample.rgb_hwc, mask, how) for name, how in BASELINES.items()}
        for picture, image in pictures.items():
            (found,) = detector.sure([image])
            for name, seen in zip(chosen.labels, _seen(region, chosen, found), strict=True):
                counts.add(name, picture, seen)
        if len(shown) < SHOWN:
            shown.append(_tiles(pictures, holed(sample.rgb_hwc, mask)))
    if not counts.n:
        raise ValueError(f"inpaint {region}: not one sample has an object that is free enough")
    columns = ("original", "region", OURS, *BASELINES)
    return Result(
        _table(region, op, counts),
        {f"inpaint {region}": contact_sheet(shown, Frame(columns=columns))},
    )


def _tiles(pictures: dict[str, ByteArray], hole: ByteArray) -> list[Tile]:
    first, *others = pictures.values()
    return [Tile(first), Tile(hole), *map(Tile, others)]


def _seen(region: Region, objects: Instances, found: Detections) -> list[bool]:
    if region == "redraw":
        return [bool(hit) for hit in matched(objects, found)]
    if not len(found):
        return [False] * len(objects)
    overlap = iou(objects.boxes_n4, found.boxes_n4).max(axis=1)
    return [bool(most >= MIN_IOU) for most in overlap]


def _table(region: Region, op: Inpaint, counts: _Counts) -> Table:
    classes = sorted(counts.n)
    total = sum(counts.n.values())
    rows = [
        Row(
            name=picture,
            values=(
                share_of(counts.total(picture), total),
                *(share_of(counts.seen[picture][name], counts.n[name]) for name in classes),
            ),
        )
        for picture in counts.seen
    ]
    verb = "removed" if region == "remove" else "redrawn"
    return Table(
        part=region,
        title=f"inpaint: {region}",
        note=(
            f"{total} {verb} objects ({', '.join(f'{counts.n[c]} {c}' for c in classes)}); "
            f"strength {op.strengths[0]:g} to {op.strengths[1]:g}, {op.native_steps} steps, "
            f"guidance {op.native_guidance:g}, margin {op.margin}. Share of them that the detector "
            f"finds at their place (IoU {MIN_IOU:g}, "
            f"{'any' if region == 'remove' else 'their own'} class)."
        ),
        columns=("all", *classes),
        rows=tuple(rows),
        checks=(_check(region, counts),),
    )


def _check(region: Region, counts: _Counts) -> Check:
    ours, total = counts.total(OURS), sum(counts.n.values())
    if region == "remove":
        return at_most("share of the removed objects that is still found:", ours / total, 0.05)
    return at_least(
        "found in the redrawn, of what is found in the originals:",
        ours / max(counts.total("original"), 1),
        0.9,
    )
