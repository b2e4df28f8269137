"""`noise_denoise` over strength: do the labels still hold, and how much do copies differ?

Agreement is AP50 of the detector against the labels (mean over classes) and its recall at its
thresholds; diversity is 1 - SSIM between two copies of one image made from two noises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from pipeline.detection.agreement import matched
from pipeline.detection.detector import Detector
from pipeline.detection.mean_ap import mean_ap
from pipeline.metrics import ssim
from pipeline.model import Detections, Model
from pipeline.ops.noise_denoise import NoiseDenoise
from pipeline.pictures.drawing import Frame, Tile, contact_sheet
from pipeline.quality.apply import NAME, applied
from pipeline.quality.chart import Line, chart
from pipeline.quality.table import (
    Check,
    Result,
    Row,
    Table,
    Track,
    Value,
    at_least,
    mean_of,
    share_of,
)
from schemas.sample import ByteArray, Sample

STRENGTHS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)
COPIES: Final = 2
SHOWN: Final = 4
SHOWN_AT: Final = (0.2, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class _Point:
    """One strength; 0 is the originals."""

    strength: float
    ap50: float
    recall: Value | None
    diversity: Value | None


def strength_experiment(
    model: Model,
    detector: Detector,
    samples: Sequence[Sample],
    seed: int,
    track: Track,
    strengths: Sequence[float] | None = None,
) -> Result:
    """The curve, over `STRENGTHS` if nothing is said, and a sheet of copies at rising strength."""
    strengths = strengths or STRENGTHS
    images = [sample.rgb_hwc for sample in samples]
    points = [_Point(0.0, *_agreement(detector, samples, images), None)]
    shown: list[list[Tile]] = [[Tile(image)] for image in images[:SHOWN]]
    work = [(strength, i) for strength in strengths for i in range(len(samples))]
    made: dict[float, list[list[ByteArray]]] = {strength: [] for strength in strengths}
    for strength, i in track(work, "noise_denoise"):
        op = _op(strength)
        copies = [applied(op, samples[i], model, seed, copy) for copy in range(COPIES)]
        pair = [copy[1].rgb_hwc for copy in copies if copy is not None]
        if len(pair) < COPIES:
            raise ValueError(f"{samples[i].key}: noise_denoise cannot carry it")
        made[strength].append(pair)
        if i < SHOWN and strength in SHOWN_AT:
            shown[i].append(Tile(pair[0]))
    for strength in strengths:
        points.append(_point(strength, detector, samples, made[strength]))
    columns = ("original", *(f"{s:g}" for s in strengths if s in SHOWN_AT))
    return Result(
        _table(points, len(samples)),
        {
            "agreement and diversity over strength": _chart(points),
            "copies over strength": contact_sheet(shown, Frame(columns=columns)),
        },
    )


def _op(strength: float) -> NoiseDenoise:
    return NoiseDenoise(model=NAME, strength=(strength, strength))


def default_range() -> tuple[float, float]:
    """The strengths that a recipe gets that says nothing else."""
    strength = NoiseDenoise(model=NAME).strength
    return (0.2, 0.5) if isinstance(strength, str) else strength


def _point(
    strength: float,
    detector: Detector,
    samples: Sequence[Sample],
    made: Sequence[Sequence[ByteArray]],
) -> _Point:
    twice = [sample for sample in samples for _ in range(COPIES)]
    images = [image for pair in made for image in pair]
    apart = [1 - ssim(pair[0], pair[1]) for pair in made]
    return _Point(strength, *_agreement(detector, twice, images), mean_of(apart))


def _agreement(
    detector: Detector, samples: Sequence[Sample], images: Sequence[ByteArray]
) -> tuple[float, Value | None]:
    found = detector.detect(images)
    ap50 = mean_ap(samples, found, detector.config.classes).ap50
    sure = [_sure(detector, one) for one in found]
    hits = sum(int(matched(s.objects, f).sum()) for s, f in zip(samples, sure, strict=True))
    return ap50, share_of(hits, sum(len(sample.objects) for sample in samples))


def _sure(detector: Detector, found: Detections) -> Detections:
    least = detector.thresholds
    return found.take(
        [i for i, name in enumerate(found.labels) if found.scores_n[i] >= least[name]]
    )


def _table(points: Sequence[_Point], n: int) -> Table:
    op = NoiseDenoise(model=NAME)
    rows = tuple(
        Row(
            name="original" if point.strength == 0 else f"strength {point.strength:g}",
            values=(Value(mean=point.ap50, n=n), point.recall, point.diversity),
        )
        for point in points
    )
    return Table(
        part="noise",
        title="noise_denoise over strength",
        note=(
            f"{n} images, {COPIES} copies each, {op.native_steps} steps, guidance "
            f"{op.native_guidance:g}. AP50 "
            "of the detector against the labels (mean over classes), recall of the labels at its "
            "thresholds, and diversity: 1 - SSIM between two copies of an image."
        ),
        columns=("AP50", "recall", "diversity"),
        rows=rows,
        checks=_checks(points),
    )


def _checks(points: Sequence[_Point]) -> tuple[Check, ...]:
    low, high = default_range()
    inside = [point for point in points if low - 1e-9 <= point.strength <= high + 1e-9]
    steps = np.diff([point.diversity.mean for point in points if point.diversity is not None])
    rising = Check(
        says="least rise of diversity from one strength to the next above 0",
        reached=float(steps.min()) if len(steps) else 0.0,
        met=bool(len(steps) and steps.min() > 0),
    )
    if not inside:
        return (rising,)
    mean = float(np.mean([point.ap50 for point in inside]))
    agreement = at_least(
        f"AP50 over the default range ({low:g} to {high:g}) relative to the originals:",
        mean / max(points[0].ap50, 1e-9),
        0.95,
    )
    return agreement, rising


def _chart(points: Sequence[_Point]) -> Image.Image:
    recall = [(p.strength, p.recall.mean) for p in points if p.recall is not None]
    apart = [(p.strength, p.diversity.mean) for p in points if p.diversity is not None]
    lines = [
        Line("AP50 against the labels", [(p.strength, p.ap50) for p in points]),
        Line("recall of the labels", recall),
        Line("diversity (1 - SSIM)", apart),
    ]
    return chart(lines, "strength", default_range())
