"""`super_resolve` against bicubic, on images that were made small by a named kernel.

The small image is Pillow's bicubic (a = -0.5, antialiased), 1/2 and 1/4 of the size (cut to a
multiple first), 8 bits; the baseline is Pillow's bicubic back to the full size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from pipeline.pictures.drawing import Frame, Tile, contact_sheet
from pipeline.quality.statistics import (
    gradient_distance,
    gradients,
    psnr_y,
    spectrum_distance,
)
from pipeline.quality.table import Check, Result, Row, Table, Track, at_least, at_most, mean_of
from schemas.errors import SampleError
from schemas.sample import ByteArray, Sample

if TYPE_CHECKING:
    from pipeline.diffusion.native import NativeUpscaler

GAIN: Final = {2: 1.0, 4: 0.7}
"""Decibels over bicubic that are wanted."""
SHOWN: Final = 4
WINDOW: Final = 96
"""Pixels of a side that are shown, from the middle, enlarged."""
BICUBIC, OURS = "bicubic", "noiseloom"

Measures = dict[str, list[float]]


def upscale_experiment(
    model: NativeUpscaler, samples: Sequence[Sample], seed: int, track: Track
) -> Result:
    """Both factors in one table."""
    rows: list[Row] = []
    checks: list[Check] = []
    pictures: dict[str, Image.Image] = {}
    for factor, gain in GAIN.items():
        measured: dict[str, Measures] = {BICUBIC: {}, OURS: {}}
        shown: list[list[Tile]] = []
        for sample in track(samples, f"super_resolve ×{factor}"):
            real, large = _pair(model, sample.rgb_hwc, factor)
            for name, image in large.items():
                _measure(measured[name], image, real, factor)
            if len(shown) < SHOWN:
                shown.append([Tile(_middle(x)) for x in (*large.values(), real)])
        rows += _rows(factor, measured)
        checks += _checks(factor, gain, measured)
        columns = (BICUBIC, OURS, "original")
        pictures[f"super_resolve ×{factor}"] = contact_sheet(shown, Frame(columns=columns))
    table = Table(
        part="upscale",
        title="super_resolve",
        note=(
            f"{len(samples)} images, made small by Pillow's bicubic (antialiased, 8 bits) and "
            "enlarged again. PSNR of luma (BT.601), a border of as many pixels as the factor cut "
            "off; Wasserstein distance between the distributions of gradient lengths (gray "
            "levels), mean gradient relative to the original's, and distance of "
            "radially averaged log power spectra (dB). Baseline: Pillow's bicubic."
        ),
        columns=("PSNR(Y)", "gradient distance", "gradient ratio", "spectrum distance", "gain, dB"),
        rows=tuple(rows),
        checks=tuple(checks),
    )
    return Result(table, pictures)


def _pair(
    model: NativeUpscaler, image_hwc: ByteArray, factor: int
) -> tuple[ByteArray, dict[str, ByteArray]]:
    from pipeline.diffusion.enlarge import upscale
    from pipeline.diffusion.resample import enlarged, resized

    height, width = (side // factor for side in image_hwc.shape[:2])
    real = image_hwc[: height * factor, : width * factor]
    small = resized(real, (height, width))
    (made,) = upscale(model, [small], factor)
    if isinstance(made, SampleError):
        raise ValueError(f"the upscaler failed: {made}")
    plain = enlarged(small, factor)
    return real, {BICUBIC: plain.astype(np.uint8), OURS: made.astype(np.uint8)}


def _measure(measures: Measures, image: ByteArray, real: ByteArray, factor: int) -> None:
    values = {
        "PSNR(Y)": psnr_y(image, real, factor),
        "gradient distance": gradient_distance(image, real),
        "gradient ratio": float(gradients(image).mean() / max(gradients(real).mean(), 1e-9)),
        "spectrum distance": spectrum_distance(image, real),
    }
    for name, value in values.items():
        measures.setdefault(name, []).append(value)


def _rows(factor: int, measured: dict[str, Measures]) -> list[Row]:
    """Per method; the gain is paired, image by image, and so its error is small."""
    plain = measured[BICUBIC]["PSNR(Y)"]
    rows = []
    for name, measures in measured.items():
        gains = [a - b for a, b in zip(measures["PSNR(Y)"], plain, strict=True)]
        values = [mean_of(each) for each in (*measures.values(), gains)]
        if name == BICUBIC:
            values[-1] = None
        rows.append(Row(name=f"×{factor} {name}", values=tuple(values)))
    return rows


def _checks(factor: int, gain: float, measured: dict[str, Measures]) -> list[Check]:
    ours, plain = measured[OURS], measured[BICUBIC]
    relative = {name: _mean(ours[name]) / max(_mean(plain[name]), 1e-9) for name in ours}
    return [
        at_least(
            f"×{factor}: PSNR(Y) over bicubic, dB:",
            _mean(ours["PSNR(Y)"]) - _mean(plain["PSNR(Y)"]),
            gain,
        ),
        at_most(
            f"×{factor}: gradient distance relative to bicubic's:",
            relative["gradient distance"],
            1.0,
        ),
        at_most(
            f"×{factor}: spectrum distance relative to bicubic's:",
            relative["spectrum distance"],
            1.0,
        ),
    ]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _middle(image_hwc: ByteArray) -> ByteArray:
    """The middle, so large that single pixels are seen."""
    height, width = image_hwc.shape[:2]
    top, left = max(0, (height - WINDOW) // 2), max(0, (width - WINDOW) // 2)
    return image_hwc[top : top + WINDOW, left : left + WINDOW]
