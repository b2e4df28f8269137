"""Transforms by name: what a recipe may ask for, and what it is told otherwise."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from pydantic import JsonValue, TypeAdapter, ValidationError

from pipeline.ops import AnyOp
from pipeline.ops.classic import targets_of
from pipeline.transforms import Named, build, names
from tests.pipeline.ops.examples import deep, painted


def complaint(*transforms: JsonValue) -> tuple[tuple[str | int, ...], str]:
    """Where and what the recipe's reader is told."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(AnyOp).validate_python({"kind": "classic", "transforms": list(transforms)})
    first = caught.value.errors()[0]
    return first["loc"], first["msg"]


def test_an_unknown_transform_is_told_the_nearest_one() -> None:
    place, message = complaint({"Blur": {}}, {"HorizntalFlip": {"p": 0.5}})
    assert place[-2:] == ("transforms", 1)
    assert "no transform 'HorizntalFlip'" in message
    assert "did you mean HorizontalFlip" in message


def test_an_unknown_argument_is_told_the_legal_ones() -> None:
    _, message = complaint({"Rotate": {"limits": 30}})
    assert "Rotate has no argument 'limits'; did you mean limit?" in message
    assert "border_mode" in message


@pytest.mark.parametrize(
    ("transform", "says"),
    [
        ({"Blur": {"p": 3}}, "Blur: p: Input should be less than or equal to 1"),
        ({"Blur": {"blur_limit": [4, 8]}}, "must be odd"),
        ({"RandomCrop": {"width": 5}}, "RandomCrop: height: Field required"),
        ({"Crop": {"x_min": 5, "x_max": 3}}, "x_max must be greater than x_min"),
        ({"Affine": {"fill_mask": 300}}, "fill_mask is a class id from 0 to 255, not 300"),
        ({"Resize": {"height": 9, "width": 9, "mask_interpolation": 1}}, "no values in between"),
        ({"OneOf": {"transforms": [{"Blur": {"p": 0}}]}}, "every transform in it has p: 0"),
        ({"SomeOf": {"transforms": [{"Blur": {}}], "n": 4}}, "greater than number of transforms"),
        ({"OneOf": {}}, "OneOf needs transforms"),
        ({"Blur": {}, "Sharpen": {}}, "one transform is written {Name: {argument: value}}"),
        ({"OneOf": {"transforms": ["Blur"]}}, "OneOf.transforms[0]: one transform is written"),
        ({"OneOf": {"transforms": [{"Blur": 3}]}}, "the arguments of a transform are"),
    ],
)
def test_a_bad_argument_is_named_with_its_place(transform: JsonValue, says: str) -> None:
    place, message = complaint(transform)
    assert place[-2:] == ("transforms", 0)
    assert says in message


def test_a_mistake_in_a_nested_group_is_named_with_its_place() -> None:
    inner: JsonValue = {"SomeOf": {"transforms": [{"Blur": {}}, {"Blurr": {}}], "n": 1}}
    _, message = complaint({"OneOf": {"transforms": [inner]}})
    assert "OneOf.transforms[0]: SomeOf.transforms[1]:" in message
    assert "did you mean Blur" in message


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Lambda", "Python functions"),
        ("FDA", "other images"),
        ("Mosaic", "other images"),
        ("Normalize", "not an image of bytes"),
        ("ToTensorV2", "not an image of bytes"),
        ("CenterCrop3D", "made for volumes"),
    ],
)
def test_a_transform_that_a_recipe_cannot_feed_is_refused_by_name(name: str, why: str) -> None:
    _, message = complaint({name: {}})
    assert f"{name} cannot be used here" in message
    assert why in message
    assert name not in names()


_ARGUMENTS: dict[str, dict[str, JsonValue]] = {
    "Affine": {"rotate": [20, 20]},
    "AtLeastOneBBoxRandomCrop": {"height": 30, "width": 30},
    "CenterCrop": {"height": 30, "width": 30},
    "ConstrainedCoarseDropout": {"mask_indices": [1]},
    "Crop": {"x_min": 5, "y_min": 5, "x_max": 40, "y_max": 30},
    "CropAndPad": {"px": 5},
    "CropNonEmptyMaskIfExists": {"height": 30, "width": 30},
    "GridElasticDeform": {"num_grid_xy": [4, 4], "magnitude": 3},
    "LongestMaxSize": {"max_size": 60},
    "PadIfNeeded": {"min_height": 80, "min_width": 90},
    "RandomCrop": {"height": 30, "width": 30},
    "RandomResizedCrop": {"size": [40, 40]},
    "RandomSizedBBoxSafeCrop": {"height": 40, "width": 40},
    "RandomSizedCrop": {"min_max_height": [20, 40], "size": [40, 40]},
    "Resize": {"height": 60, "width": 50},
    "SmallestMaxSize": {"max_size": 60},
}
_GROUPS = {"OneOf", "RandomOrder", "Sequential", "SomeOf"}


@pytest.mark.parametrize("name", sorted(set(names()) - _GROUPS))
def test_a_transform_is_exact_on_gray_of_16_bits_or_says_that_it_takes_8(name: str) -> None:
    """Exact: as in floats, to two levels of 65535."""
    sample = deep(painted(48, 64, masks=True))
    transforms: list[Named] = [{name: {**_ARGUMENTS.get(name, {}), "p": 1}}]
    for seed in range(3):
        if build(transforms, 0, seed).eight_bits:
            assert build(transforms, 0, seed).eight_bits == (name,)
            continue
        found, expected = (
            build(transforms, 0, seed)(
                targets_of(sample, build(transforms, 0, seed)) | {"image": x}
            )
            for x in (sample.image_hwc, sample.image_hwc.astype(np.float32) / 65535)
        )
        assert found["image"].dtype == np.uint16
        assert found["image"].shape[2:] == (1,)
        far = found["image"] - np.clip(expected["image"], 0, 1) * 65535.0
        assert np.abs(far).max() <= 2


def test_a_recipe_without_transforms_is_refused() -> None:
    _, message = complaint()
    assert "at least one transform" in message


def test_a_transform_without_arguments_may_be_left_empty() -> None:
    TypeAdapter(AnyOp).validate_python({"kind": "classic", "transforms": [{"D4": None}]})


def test_reading_the_ops_imports_nothing_heavy_and_asks_no_server() -> None:
    code = (
        "import sys, os, pipeline.ops as ops\n"
        "assert not {'albumentations', 'torch', 'ray'} & set(sys.modules)\n"
        "ops.Classic(transforms=({'D4': {}},))\n"
        "assert 'albumentations' in sys.modules\n"
        "assert os.environ['NO_ALBUMENTATIONS_UPDATE'] == '1'\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
