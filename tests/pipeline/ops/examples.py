"""Ops and samples for the laws: every kind of op needs an entry in `EXAMPLES`.

The samples are painted: under each box lies a rectangle of its own colour, and no other pixel has
one, so that labels can be checked against the picture, whatever an op did to both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue, TypeAdapter

from pipeline.labels.geometry import touched
from pipeline.model import Models
from pipeline.op import Draw, Op, Outcome, Peers
from pipeline.ops import AnyOp
from pipeline.seeds import rng_for
from schemas.errors import SampleError
from schemas.sample import ByteArray, FloatArray, Instances, Sample

CLASSES: Final = ("disc", "rod")
SEG_CLASSES: Final = ("background", "disc", "rod")
PAINTS: Final = ((230, 40, 40), (40, 230, 40), (40, 40, 230), (230, 230, 40))
GROUND: Final = 90
BLACK: Final = 700
WHITE: Final = 4095
"""Of deep gray: a detector of 12 bits, a 16th of the range."""

_NOISE: Mapping[str, JsonValue] = {
    "kind": "noise_denoise",
    "model": "denoiser",
    "steps": 2,
    "strength": 0.5,
}
_RESTYLE: Mapping[str, JsonValue] = {"kind": "restyle", "model": "denoiser", "steps": 2}
_INPAINT: Mapping[str, JsonValue] = {"kind": "inpaint", "model": "denoiser", "steps": 2}
_SYNTHESIZE: Mapping[str, JsonValue] = {"kind": "synthesize", "model": "denoiser", "steps": 2}
_UPSCALE = {"kind": "super_resolve", "model": "upscaler"}
_GEOMETRIC: JsonValue = [
    {"HorizontalFlip": {"p": 0.5}},
    {"Affine": {"rotate": [-40, 40], "scale": [0.7, 1.4], "p": 1}},
]
_PHOTOMETRIC: JsonValue = [
    {"RandomBrightnessContrast": {"p": 1}},
    {"OneOf": {"transforms": [{"GaussNoise": {}}, {"Blur": {}}], "p": 0.7}},
]

EXAMPLES: Final[Mapping[str, Sequence[Mapping[str, JsonValue]]]] = {
    "classic": [
        {"kind": "classic", "transforms": _GEOMETRIC},
        {"kind": "classic", "transforms": _PHOTOMETRIC},
    ],
    "noise_denoise": [
        {**_NOISE},
        {**_NOISE, "protect": "objects", "guidance": 1},
        {**_NOISE, "protect": "background", "guidance": 0},
        {**_NOISE, "strength": "adaptive", "classes": ["disc"]},
    ],
    "restyle": [
        {**_RESTYLE},
        {**_RESTYLE, "protect": "objects"},
        {**_RESTYLE, "protect": "background", "classes": ["rod"]},
    ],
    "inpaint": [
        {**_INPAINT, "region": "background"},
        {**_INPAINT, "region": "redraw"},
        {**_INPAINT, "region": "remove"},
        {**_INPAINT, "region": "regions"},
        {**_INPAINT, "region": "regions", "protect": "objects"},
        {**_INPAINT, "region": "redraw", "classes": ["rod"]},
    ],
    "super_resolve": [
        {**_UPSCALE, "scale": 2, "then": "keep"},
        {**_UPSCALE, "scale": 4, "then": "restore"},
    ],
    "copy_paste": [
        {"kind": "copy_paste", "harmonise": 0, "count": [2, 4]},
        {"kind": "copy_paste", "model": "denoiser", "steps": 2, "classes": ["rod"]},
    ],
    "synthesize": [
        {**_SYNTHESIZE},
        {**_SYNTHESIZE, "layout": "own"},
        {**_SYNTHESIZE, "layout": "empty", "guidance": 1},
        {**_SYNTHESIZE, "layout": "empty", "guidance": 0},
    ],
}


def kinds() -> set[str]:
    """Every kind in the union."""
    union = get_args(AnyOp)[0]
    return {str(get_args(op.model_fields["kind"].annotation)[0]) for op in get_args(union)}


def example_ops() -> list[Op]:
    """Every example, read as a recipe is."""
    adapter: TypeAdapter[Op] = TypeAdapter(AnyOp)
    return [adapter.validate_python(spec) for specs in EXAMPLES.values() for spec in specs]


def name_of(op: Op) -> str:
    """A name for a test: the kind, and what tells it from the other examples."""
    words = [
        op.kind,
        *(str(getattr(op, field, "")) for field in ("region", "protect", "then", "layout")),
    ]
    moves = ["moving" if "Affine" in str(getattr(op, "transforms", "")) else ""]
    return "-".join(word for word in [*words, *moves] if word)


def painted(
    height: int = 48,
    width: int = 64,
    count: int = 3,
    *,
    boxes: bool = True,
    masks: bool = False,
    class_map: bool = True,
    key: str = "painted",
) -> Sample:
    """A sample of up to four objects side by side, each in a colour of its own."""
    texture = np.random.default_rng(height * width).integers(0, 20, (height, width, 1))
    image = np.broadcast_to(GROUND + texture, (height, width, 3)).astype(np.uint8)
    ids = np.zeros((height, width), np.uint8)
    count = min(count, len(PAINTS), max(1, width // 8)) if min(height, width) >= 8 else 0
    boxes_n4 = _side_by_side(height, width, count)
    masks_nhw = np.zeros((count, height, width), bool)
    labels = tuple(CLASSES[i % 2] for i in range(count))
    for i, (x0, y0, x1, y1) in enumerate(boxes_n4.astype(int)):
        image[y0:y1, x0:x1] = PAINTS[i]
        ids[y0:y1, x0:x1] = SEG_CLASSES.index(labels[i])
        masks_nhw[i, y0:y1, x0:x1] = True
    instances = Instances(boxes_n4, labels, masks_nhw if masks else None) if boxes else None
    return Sample(key, image, instances, ids if class_map else None)


def deep(sample: Sample) -> Sample:
    """The same picture as gray of 16 bits, from BLACK to WHITE, with a grain of single levels."""
    gray_hw1 = sample.image_hwc.astype(float).mean(axis=2, keepdims=True) / 255
    grain = np.random.default_rng(4).integers(0, 16, gray_hw1.shape)
    image = (BLACK + gray_hw1 * (WHITE - BLACK - 16)).astype(np.uint16) + grain.astype(np.uint16)
    return replace(sample, image_hwc=image)


def _side_by_side(height: int, width: int, count: int) -> FloatArray:
    step = width / max(1, count)
    y0, y1 = round(height * 0.3), round(height * 0.7)
    rows = [
        [round(i * step + step * 0.2), y0, round(i * step + step * 0.8), y1] for i in range(count)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def paint_of(image_hwc: ByteArray) -> NDArray[np.int64]:
    """The number of the paint of every pixel, (h, w); -1 where it is the ground or beyond it."""
    colours = np.array([*PAINTS, [GROUND + 10] * 3, [0] * 3])
    distances = np.abs(image_hwc[:, :, None, :].astype(int) - colours).sum(axis=-1)
    nearest = distances.argmin(axis=-1)
    return np.where(nearest < len(PAINTS), nearest, -1)


def paint_share(image_hwc: ByteArray, box: FloatArray, paint: int) -> float:
    """How much of a box is covered by this paint."""
    under = paint_of(image_hwc)[touched(box)]
    return float((under == paint).mean()) if under.size else 0.0


def paint_inside(image_hwc: ByteArray, box: FloatArray, paint: int) -> float:
    """How much of this paint lies inside the box."""
    found = paint_of(image_hwc) == paint
    return float(found[touched(box)].sum() / max(1, found.sum()))


def peers_of(*samples: Sample) -> Peers:
    """A chunk around these samples: each has two other painted ones beside it."""
    others = [painted(40, 52, 2, masks=True, key="peer-a"), painted(64, 48, 3, key="peer-b")]
    return {sample.key: sample for sample in [*samples, *others]}


def drawn(op: Op, sample: Sample, step: str = "law#0") -> Draw | SampleError | None:
    """The op's choices for a sample, or why it makes none."""
    try:
        return op.draw(sample, rng_for(7, sample.key, 0, step), peers_of(sample))
    except SampleError as error:
        return error


def applied(op: Op, sample: Sample, models: Models) -> Outcome | None:
    """The op on one sample; None where it has nothing to do."""
    draw = drawn(op, sample)
    if draw is None or isinstance(draw, SampleError):
        return draw
    return op.apply([sample], [draw], models, peers_of(sample))[0]
