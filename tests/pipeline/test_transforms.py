"""Transforms by name: what a recipe may ask for, and what it is told otherwise."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import JsonValue, TypeAdapter, ValidationError

from pipeline.ops import AnyOp
from pipeline.transforms import names


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
