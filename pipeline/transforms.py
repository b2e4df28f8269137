"""albumentations by name: checks and builds what a recipe's `classic` op asks for.

The import takes a second or two, so it happens when the first `classic` op is read or run, never
before.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import os
import random
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, Literal, get_args

from numpy.random import Generator, Philox
from pydantic import JsonValue, ValidationError

from schemas.sample import IGNORE_ID

Arguments = dict[str, JsonValue]
Named = dict[str, Arguments | None]
"""One transform: `{name: arguments}`."""

_GROUPS: Final = ("OneOf", "RandomOrder", "Sequential", "SomeOf")
"""Transforms of transforms: their `transforms` are written like those of the op."""

_NEEDS_IMAGES: Final = "it needs other images, which a recipe cannot give"
_NO_BYTES: Final = "its result is not an image of bytes"
_VOLUMES: Final = "it is made for volumes"
_REFUSED: Final[Mapping[str, str]] = {
    "FDA": _NEEDS_IMAGES,
    "HistogramMatching": _NEEDS_IMAGES,
    "PixelDistributionAdaptation": _NEEDS_IMAGES,
    "TemplateTransform": _NEEDS_IMAGES,
    "Mosaic": _NEEDS_IMAGES,
    "OverlayElements": _NEEDS_IMAGES,
    "TextImage": "it needs a font file and texts for every image",
    "RandomCropNearBBox": "it needs a box of its own for every image",
    "Lambda": "it runs Python functions, and nothing that is read is ever executed",
    "ToRGB": "the images are RGB already",
    "FromFloat": _NO_BYTES,
    "Normalize": _NO_BYTES,
    "ToFloat": _NO_BYTES,
    "ToTensorV2": _NO_BYTES,
    "ToTensor3D": _NO_BYTES,
    "CenterCrop3D": _VOLUMES,
    "CoarseDropout3D": _VOLUMES,
    "CubicSymmetry": _VOLUMES,
    "Pad3D": _VOLUMES,
    "PadIfNeeded3D": _VOLUMES,
    "RandomCrop3D": _VOLUMES,
    "FrequencyMasking": "it is made for spectrograms",
    "TimeMasking": "it is made for spectrograms",
    "TimeReverse": "it is made for spectrograms",
}

_BOXES_LOST: Final = frozenset(
    {"MaskDropout", "Morphological", "PiecewiseAffine", "ThinPlateSpline"}
)
"""Their boxes are wrong or an error (painted rectangles, 2.0.8): each box travels as a mask."""

_EIGHT_BITS: Final = frozenset(
    """
    AutoContrast CLAHE ChannelDropout ChannelShuffle ChromaticAberration Downscale Equalize
    FancyPCA GaussNoise HEStain HueSaturationValue ISONoise ImageCompression MedianBlur
    PlanckianJitter Posterize RGBShift RandomFog RandomGamma RandomGravel RandomRain
    RandomShadow RandomSnow RandomSunFlare RandomToneCurve Solarize Spatter Superpixels ToGray
    ToSepia
    """.split()  # noqa: SIM905 - a list of names, one below the other, would be a page
)
"""They fail on gray of 16 bits, return another type, or change colours, of which it has none. All
others give, to two levels of 65535, what they give for the same image in floats (2.0.8; measured
again over all of them by a test)."""

_EXACT_NEAREST: Final = 6
"""cv2.INTER_NEAREST_EXACT; cv2.INTER_NEAREST shifts masks by up to half a pixel when it resizes."""

_ADVICE: Final = ("This augmenter is very slow", "ShiftScaleRotate is a special case")
"""Warnings of albumentations that say how else it could be written, and change nothing."""


@dataclass(frozen=True)
class Built:
    """Transforms ready for one sample."""

    compose: Any
    moves: bool
    """At least one may move the geometry."""
    boxes_as_masks: bool
    """At least one cannot move boxes."""
    mask_value: int
    """What stands for an instance in the masks: a value with which nothing is filled."""
    eight_bits: tuple[str, ...]
    """The names of those that cannot carry gray of 16 bits."""

    def __call__(self, targets: dict[str, Any]) -> dict[str, Any]:
        """The targets, transformed."""
        result: dict[str, Any] = self.compose(**targets)
        return result


@functools.cache
def _library() -> ModuleType:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else the import asks a server for its version
    # Its ToTensorV2, which makes no image of bytes, would import torch just to read a recipe.
    sys.modules.setdefault("albumentations.pytorch", None)  # type: ignore[arg-type]
    import albumentations

    return albumentations  # type: ignore[no-any-return]


@functools.cache
def refusals() -> tuple[type[Exception], ...]:
    """What albumentations raises where a transform cannot be applied to an image."""
    import cv2
    from albumentations.augmentations.crops.transforms import CropSizeError

    return ValueError, ArithmeticError, IndexError, CropSizeError, cv2.error


@functools.cache
def names() -> tuple[str, ...]:
    """Every name that a recipe may use, sorted."""
    library = _library()
    base = library.BasicTransform
    abstract = ("BasicTransform", "DualTransform", "ImageOnlyTransform", "Transform3D")
    found = [
        name
        for name, value in vars(library).items()
        if isinstance(value, type) and issubclass(value, base) and name not in abstract
    ]
    return tuple(sorted({*found, *_GROUPS} - set(_REFUSED)))


def check(named: Named) -> Named:
    """The transform as it came. Raises ValueError with the place of what is wrong."""
    _checked(named)
    return named


def build(transforms: Sequence[Named], min_visibility: float, seed: int) -> Built:
    """New transforms that share one generator of this seed."""
    library = _library()
    with _without_advice("default"):
        nodes = [_node(named) for named in transforms]
    leaves = [leaf for node in nodes for leaf in _leaves(node)]
    moves = any(isinstance(leaf, library.DualTransform) for leaf in leaves)
    as_masks = any(type(leaf).__name__ in _BOXES_LOST for leaf in leaves)
    boxes = library.BboxParams("pascal_voc", min_area=1, min_visibility=min_visibility, clip=True)
    compose = library.Compose(nodes, bbox_params=boxes if moves and not as_masks else None)
    compose.set_random_state(Generator(Philox(key=seed)), random.Random(seed))
    filled = {getattr(leaf, "fill_mask", None) for leaf in leaves}
    mask_value = next(value for value in range(1, IGNORE_ID) if value not in filled)
    eight_bits = sorted({type(leaf).__name__ for leaf in leaves} & _EIGHT_BITS)
    return Built(compose, moves, as_masks, mask_value, tuple(eight_bits))


@contextmanager
def _without_advice(others: Literal["error", "default"]) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter(others)
        for advice in _ADVICE:
            warnings.filterwarnings("ignore", advice)
        yield


def _leaves(node: Any) -> Iterator[Any]:
    if isinstance(node, _library().BasicTransform):
        yield node
    else:
        for child in node.transforms:
            yield from _leaves(child)


def _checked(named: Named) -> None:
    if len(named) != 1:
        raise ValueError("one transform is written {Name: {argument: value}}")
    ((name, arguments),) = named.items()
    if name in _REFUSED:
        raise ValueError(f"{name} cannot be used here: {_REFUSED[name]}")
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"albumentations 2.0.8 has no transform {name!r}{hint}")
    arguments = arguments or {}
    _check_names(name, arguments)
    if name in _GROUPS:
        _check_group(name, arguments)
    _check_masks(name, arguments)
    with _without_advice("error"):  # a warning says that something else is done than was asked
        try:
            _node(named)
        except (ValueError, TypeError, ZeroDivisionError, UserWarning) as error:
            raise ValueError(f"{name}: {_reason(error)}") from error


def _check_names(name: str, arguments: Arguments) -> None:
    legal = _argument_names(name)
    for argument in arguments:
        if argument not in legal:
            near = difflib.get_close_matches(argument, legal, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"{name} has no argument {argument!r}{hint} (legal: {', '.join(legal)})"
            )


def _check_masks(name: str, arguments: Arguments) -> None:
    fill = arguments.get("fill_mask")
    if fill is not None and not (isinstance(fill, int) and 0 <= fill <= IGNORE_ID):
        raise ValueError(f"{name}.fill_mask is a class id from 0 to 255, not {fill!r}")
    if arguments.get("mask_interpolation", 0) not in (0, _EXACT_NEAREST):
        raise ValueError(
            f"{name}.mask_interpolation is 0 or 6: class ids have no values in between"
        )


def _check_group(name: str, arguments: Arguments) -> None:
    children = arguments.get("transforms")
    if not isinstance(children, list) or not children:
        raise ValueError(f"{name} needs transforms: [{{Name: {{...}}}}, ...]")
    for position, child in enumerate(children):
        try:
            _checked(_as_named(child))
        except ValueError as error:
            raise ValueError(f"{name}.transforms[{position}]: {error}") from error


def _as_named(value: JsonValue) -> Named:
    if not isinstance(value, dict):
        raise ValueError("one transform is written {Name: {argument: value}}")
    for arguments in value.values():
        if arguments is not None and not isinstance(arguments, dict):
            raise ValueError(f"the arguments of a transform are {{name: value}}, not {arguments!r}")
    return value  # type: ignore[return-value]  # checked above


def _reason(error: Exception) -> str:
    if isinstance(error, ZeroDivisionError):
        return "every transform in it has p: 0"
    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return str(error)
    return "; ".join(
        ": ".join(filter(None, [".".join(map(str, fault["loc"])), fault["msg"]]))
        for fault in cause.errors()
    )


def _argument_names(name: str) -> list[str]:
    parameters = inspect.signature(getattr(_library(), name).__init__).parameters
    return [parameter for parameter in parameters if parameter != "self"]


def _node(named: Named) -> Any:
    ((name, arguments),) = named.items()
    type_ = getattr(_library(), name)
    given: dict[str, Any] = dict(arguments or {})
    if name in _GROUPS:
        given["transforms"] = [_node(_as_named(child)) for child in given["transforms"]]
        return type_(**given)
    fields = type_.InitSchema.model_fields
    if "fill_mask" in fields and "Dropout" not in name and name != "XYMasking":
        given.setdefault("fill_mask", IGNORE_ID)  # pixels from outside the image have no label
    nearest = fields.get("mask_interpolation")
    if nearest is not None and _EXACT_NEAREST in get_args(nearest.annotation):
        given.setdefault("mask_interpolation", _EXACT_NEAREST)
    return type_(**given)
