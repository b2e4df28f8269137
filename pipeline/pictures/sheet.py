"""Before and after: a contact sheet of woven copies beside what they were made from.

A row is one copy: source and copy as they are, then both with their labels. Where both are dark,
the whole row is shown brighter, and its header says so. Gray of 16 bits is shown from the black to
the white of the source, on the whole row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from pipeline.codec import decode
from pipeline.images.depth import levels_of, shown
from pipeline.pictures.drawing import TILE_HEIGHT, Frame, Tile, contact_sheet, tile_scale
from pipeline.pictures.overlay import Look, draw, look_for
from pipeline.source.plan import EncodedSample
from schemas.errors import SampleError
from schemas.index import AppliedOp, IndexRow
from schemas.recipe import Source
from schemas.sample import ByteArray, Sample

COLUMNS: Final = ("source", "woven", "source, labels drawn", "woven, labels drawn")

_DARK: Final = 100  # of 255: below this brightest half percent an image is hard to see on paper
_SHOWN: Final = 200
_UNSAID: Final = frozenset({"seed", "noise", "strength"})
_LONGEST: Final = 60  # characters of a prompt; the whole of it is in the index


@dataclass(frozen=True, eq=False)
class Pair:
    """One attempted copy: what it was made from, what was made, its row, and the recipe's ops."""

    row: IndexRow
    source: Sample | None
    woven: Sample | None
    header: str = ""
    ops: Sequence[Mapping[str, object]] = ()


def before_after(
    pairs: Sequence[Pair], title: str, note: str = "", id_names: Sequence[str] = ()
) -> Image.Image:
    """The sheet. `id_names` are the names of the class ids."""
    pairs = [same_levels(pair) for pair in pairs]
    samples = [sample for pair in pairs for sample in (pair.source, pair.woven) if sample]
    look = look_for(samples, id_names)
    frame = Frame(title, note, COLUMNS, [_header(pair) for pair in pairs], look.colours)
    return contact_sheet([_tiles(pair, look) for pair in pairs], frame)


def same_levels(pair: Pair) -> Pair:
    """Source and copy with images for the eye, and the same levels for both."""
    first = pair.source or pair.woven
    if first is None:
        return pair
    levels = levels_of(first.image_hwc)
    source, woven = (
        sample and replace(sample, image_hwc=shown(sample.image_hwc, levels))
        for sample in (pair.source, pair.woven)
    )
    return replace(pair, source=source, woven=woven)


def readable(encoded: EncodedSample, source: Source) -> Sample | None:
    """The sample, or None where it cannot be drawn."""
    try:
        return decode(encoded, source)
    except SampleError:
        return None


def describe(op: AppliedOp, ops: Sequence[Mapping[str, object]] = ()) -> str:
    """An applied op in a few words: which it is, its strength, its other choices but for seeds.

    `ops` are those of its recipe, as plain values: they tell a redrawn region from a removed one.
    """
    draws: dict[str, object] = json.loads(op.draw)
    position = int(op.step.rpartition("#")[2])
    name = title(ops[position]) if position < len(ops) else op.kind
    said = [] if op.strength is None else [f"strength {op.strength:.2f}"]
    said += [f"{name} {_short(value)}" for name, value in draws.items() if name not in _UNSAID]
    return f"{name}: {', '.join(said)}" if said else name


def title(op: Mapping[str, object]) -> str:
    """An op of a recipe by its kind and what it is set to do: "inpaint redraw"."""
    words = [v for name, v in op.items() if isinstance(v, str) and name not in ("kind", "model")]
    return " ".join([str(op["kind"]), *(word for word in words if word != "none")])


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | dict):
        return f"({len(value)})"
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _header(pair: Pair) -> str:
    row = pair.row
    status = row.status if row.reason is None else f"{row.status}: {row.reason}"
    gain = _gain(pair)
    parts = [pair.header, row.source_key, f"copy {row.copy}", status]
    parts.append(f"shown {gain:.1f} times brighter" if gain > 1 else "")
    return "   ·   ".join(part for part in parts if part)


def _gain(pair: Pair) -> float:
    images = [sample.image_hwc for sample in (pair.source, pair.woven) if sample]
    thinned = [image[:: 1 + len(image) // 512, :: 1 + len(image) // 512] for image in images]
    brightest = max((float(np.percentile(image, 99.5)) for image in thinned), default=255)
    return _SHOWN / max(brightest, 20) if brightest < _DARK else 1.0


def _tiles(pair: Pair, look: Look) -> list[Tile]:
    gain = _gain(pair)
    source = _brighter(pair.source, gain)
    woven = _brighter(pair.woven, gain)
    made = "\n".join(describe(op, pair.ops) for op in pair.row.ops) or "no op was taken"
    return [
        Tile(_plain(source, "not at hand"), _size(source)),
        Tile(_plain(woven, pair.row.reason or "not at hand"), made),
        Tile(_labelled(source, look), _count(source)),
        Tile(_labelled(woven, look), "\n".join(filter(None, [_count(woven), _scores(pair.row)]))),
    ]


def _brighter(sample: Sample | None, gain: float) -> Sample | None:
    if sample is None or gain <= 1:
        return sample
    bright = np.minimum(np.arange(256) * gain, 255).astype(np.uint8)
    return replace(sample, image_hwc=bright[sample.image_hwc])


def _plain(sample: Sample | None, reason: str) -> ByteArray:
    return _empty(reason) if sample is None else sample.rgb_hwc


def _labelled(sample: Sample | None, look: Look) -> ByteArray:
    if sample is None:
        return _empty("")
    return np.asarray(draw(sample, look, tile_scale(sample.height, sample.width)))


def _empty(text: str) -> ByteArray:
    picture = Image.new("RGB", (TILE_HEIGHT, TILE_HEIGHT), (236, 236, 236))
    centre = TILE_HEIGHT / 2, TILE_HEIGHT / 2
    ImageDraw.Draw(picture).text(centre, text, (120, 40, 40), anchor="mm", font_size=15)
    return np.asarray(picture)


def _size(sample: Sample | None) -> str:
    return "" if sample is None else f"{sample.width} x {sample.height}"


def _count(sample: Sample | None) -> str:
    if sample is None:
        return ""
    objects = f", {len(sample.objects)} objects" if sample.instances is not None else ""
    return f"{_size(sample)}{objects}"


def _scores(row: IndexRow) -> str:
    measured = [f"PSNR {row.psnr:.1f} dB" if row.psnr is not None else ""]
    measured.append(f"SSIM {row.ssim:.3f}" if row.ssim is not None else "")
    measured += [f"{score.gate} {score.score:.3g}" for score in row.scores]
    return ", ".join(filter(None, measured))
