"""`inpaint: regions` and `inpaint: background`: what is in the holes, against OpenCV's filling.

Regions: random holes over a quarter of the area, drawn by the op. Background: everything but the
objects and their margin. Measured inside the holes, against what was there: the distance of patch
statistics (`patches.py`), PSNR, and the seam.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from pipeline.labels.regions import objects_region
from pipeline.model import Model
from pipeline.ops.inpaint import Inpaint
from pipeline.pictures.drawing import Frame, Tile, contact_sheet
from pipeline.quality.apply import BASELINES, NAME, applied, filled, holed
from pipeline.quality.patches import Floats, distances, places, pooled, scaled, taken
from pipeline.quality.statistics import psnr_inside, seam
from pipeline.quality.table import (
    Check,
    Result,
    Row,
    Table,
    Track,
    Value,
    at_least,
    at_most,
    mean_of,
)
from pipeline.seeds import rng_for
from schemas.sample import BoolArray, ByteArray, Sample

AREA: Final = 0.25
OURS: Final = "noiseloom"
SEAM: Final = 1.15
"""Of a filled image's seam over the real one's: a step that is 15 % larger at a border is not seen
in textures that vary by more than that from place to place."""
SHOWN: Final = 5

Region = Literal["regions", "background"]
MakeOp = Callable[[Region], Inpaint]


def default_op(region: Region) -> Inpaint:
    """The op as a recipe gets it that says nothing else."""
    area = {"area": (AREA, AREA)} if region == "regions" else {}
    return Inpaint.model_validate({"model": NAME, "region": region, **area})


@dataclass
class _Method:
    """What was measured of one way to fill holes."""

    patches: list[list[Floats]] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    seams: list[float] = field(default_factory=list)


def fill_experiment(
    region: Region,
    model: Model,
    samples: Sequence[Sample],
    seed: int,
    track: Track,
    make_op: MakeOp = default_op,
) -> Result:
    """The table of one region."""
    op = make_op(region)
    methods: dict[str, _Method] = {name: _Method() for name in ("real", OURS, *BASELINES)}
    shown: list[list[Tile]] = []
    for sample in track(samples, f"inpaint {region}"):
        made = applied(op, sample, model, seed)
        if made is None:
            continue
        mask = op._mask(sample, made[0])
        if not mask.any() or mask.all():
            continue
        _check_outside(sample, made[1], mask, region, op)
        images = {"real": sample.rgb_hwc, OURS: made[1].rgb_hwc}
        images |= {name: filled(sample.rgb_hwc, mask, how) for name, how in BASELINES.items()}
        _measure(methods, images, mask, rng_for(seed, sample.key, 0, "patches"))
        if len(shown) < SHOWN:
            pictures = [sample.rgb_hwc, holed(sample.rgb_hwc, mask), *list(images.values())[1:]]
            shown.append([Tile(picture) for picture in pictures])
    if not methods[OURS].psnr:
        raise ValueError(f"inpaint {region}: not one sample has a hole to fill")
    columns = ("image", "holes", OURS, *BASELINES)
    sheet = contact_sheet(shown, Frame(columns=columns))
    return Result(_table(region, op, methods), {f"inpaint {region}": sheet})


def _check_outside(
    sample: Sample, made: Sample, mask: BoolArray, region: Region, op: Inpaint
) -> None:
    """What may not change must not have."""
    kept = objects_region(sample) if region == "background" else ~mask
    if not (made.image_hwc[kept] == sample.image_hwc[kept]).all():
        raise AssertionError(f"{sample.key}: inpaint {region} changed protected pixels")


def _measure(
    methods: Mapping[str, _Method],
    images: Mapping[str, ByteArray],
    mask: BoolArray,
    rng: np.random.Generator,
) -> None:
    at = places(mask, rng)
    real = taken(images["real"], at)
    real_seam = max(seam(images["real"], mask), 1e-9)
    for name, image in images.items():
        method = methods[name]
        method.patches.append(scaled(taken(image, at), real))
        method.psnr.append(psnr_inside(image, images["real"], mask))
        method.seams.append(seam(image, mask) / real_seam)


def _table(region: Region, op: Inpaint, methods: Mapping[str, _Method]) -> Table:
    real = pooled(methods["real"].patches)
    far = {
        name: distances(pooled(method.patches), real)
        for name, method in methods.items()
        if name != "real"
    }
    rows = [
        Row(
            name=name,
            values=(
                *(_distance(d, len(level)) for d, level in zip(each, real, strict=True)),
                _distance(_mean(each), sum(map(len, real))),
                mean_of(methods[name].psnr),
                mean_of(methods[name].seams),
            ),
        )
        for name, each in far.items()
    ]
    n = len(methods[OURS].psnr)
    return Table(
        part="fill" if region == "regions" else "background",
        title=f"inpaint: {region}" + (", 25 % of the area" if region == "regions" else ""),
        note=(
            f"{n} images; strength {_range(op.strengths)}, {op.native_steps} steps, guidance "
            f"{op.native_guidance:g}. Inside the holes: sliced Wasserstein distance of 7x7 patches "
            "to the real ones (per level of a Laplacian pyramid, level 0 the finest; lower is "
            "closer), PSNR in dB, and the mean step of luma across the border relative to "
            "elsewhere, divided by the same of the real image (1 is no seam)."
        ),
        columns=("SWD 0", "SWD 1", "SWD 2", "SWD", "PSNR", "seam"),
        rows=tuple(rows),
        checks=_checks(region, far, methods),
    )


def _checks(
    region: Region, far: Mapping[str, list[float]], methods: Mapping[str, _Method]
) -> tuple[Check, ...]:
    others = min(_mean(far[name]) for name in BASELINES)
    closer = at_least(
        "patch statistics, times closer than the better of OpenCV's:",
        others / max(_mean(far[OURS]), 1e-9),
        2.0,
    )
    if region == "background":
        return (closer,)
    psnr = {name: float(np.mean(method.psnr)) for name, method in methods.items()}
    return (
        closer,
        at_least(
            "PSNR minus the better of OpenCV's, dB:",
            psnr[OURS] - max(psnr[name] for name in BASELINES),
            -1.0,
        ),
        at_most("seam relative to the real one:", float(np.mean(methods[OURS].seams)), SEAM),
    )


def _mean(levels: Sequence[float]) -> float:
    return float(np.nanmean(levels))


def _distance(distance: float, n: int) -> Value | None:
    return None if np.isnan(distance) else Value(mean=distance, n=n)


def _range(strength: tuple[float, float]) -> str:
    return f"{strength[0]:g} to {strength[1]:g}"
