"""Classic: labels in step with any transform, and no state between samples."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import JsonValue

from pipeline.ops import Classic
from schemas.errors import SampleError
from schemas.sample import IGNORE_ID, Instances, Sample
from tests.pipeline.ops.examples import applied, paint_share, painted


def classic(*transforms: dict[str, dict[str, JsonValue]], min_visibility: float = 0.1) -> Classic:
    return Classic(transforms=transforms, min_visibility=min_visibility)


def one(op: Classic, sample: Sample, seed: int = 5) -> Sample:
    outcome = op.apply([sample], [{"seed": seed}], {}, {})[0]
    assert isinstance(outcome, Sample), outcome
    return outcome


def test_a_flip_moves_boxes_masks_and_class_map_exactly() -> None:
    before = painted(40, 64, masks=True)
    after = one(classic({"HorizontalFlip": {"p": 1}}), before)
    assert np.array_equal(after.image_hwc, before.image_hwc[:, ::-1])
    x0, y0, x1, y1 = before.objects.boxes_n4.T
    assert after.objects.boxes_n4.tolist() == np.stack([64 - x1, y0, 64 - x0, y1], 1).tolist()
    assert after.objects.masks_nhw is not None and before.objects.masks_nhw is not None
    assert np.array_equal(after.objects.masks_nhw, before.objects.masks_nhw[:, :, ::-1])
    assert after.class_map_hw is not None and before.class_map_hw is not None
    assert np.array_equal(after.class_map_hw, before.class_map_hw[:, ::-1])


def test_boxes_that_did_not_move_keep_every_digit() -> None:
    boxes = np.array([[1.0123456789, 2, 20.98765, 30]])
    sample = Sample("k", np.zeros((40, 64, 3), np.uint8), Instances(boxes, ("disc",)), None)
    after = one(classic({"VerticalFlip": {"p": 0}}), sample)
    assert after.objects.boxes_n4.tolist() == boxes.tolist()


def test_a_transform_of_pixels_alone_does_not_touch_labels() -> None:
    before = painted(masks=True)
    after = one(classic({"GaussNoise": {"p": 1}}), before)
    assert after.instances is before.instances
    assert after.class_map_hw is before.class_map_hw
    assert not np.array_equal(after.image_hwc, before.image_hwc)


def test_an_object_outside_the_crop_goes_with_its_label_and_mask() -> None:
    before = painted(40, 64, count=2, masks=True)
    right = {"Crop": {"x_min": 32, "y_min": 0, "x_max": 64, "y_max": 40, "p": 1}}
    after = one(classic(right), before)
    assert after.objects.labels == before.objects.labels[1:]
    assert after.objects.masks_nhw is not None
    assert after.objects.masks_nhw.shape == (1, 40, 32)
    assert paint_share(after.image_hwc, after.objects.boxes_n4[0], 1) == 1


def test_a_crop_that_holds_no_object_leaves_none() -> None:
    corner = {"Crop": {"x_min": 0, "y_min": 0, "x_max": 20, "y_max": 5, "p": 1}}
    for masks in (False, True):
        after = one(classic(corner), painted(40, 64, masks=masks))
        assert len(after.objects) == 0
        assert after.objects.boxes_n4.shape == (0, 4)


def test_min_visibility_decides_how_much_of_a_box_must_stay() -> None:
    before = painted(40, 64, count=1)
    x0, _, x1, _ = before.objects.boxes_n4[0]
    cut = {"Crop": {"x_min": int(x1 - (x1 - x0) * 0.3), "x_max": 64, "y_max": 40, "p": 1}}
    assert len(one(classic(cut, min_visibility=0.2), before).objects) == 1
    assert len(one(classic(cut, min_visibility=0.5), before).objects) == 0


@pytest.mark.parametrize(
    "transform",
    [
        {"Affine": {"translate_px": {"x": [20, 20], "y": [0, 0]}, "p": 1}},
        {"Rotate": {"limit": [45, 45], "p": 1}},
        {"ShiftScaleRotate": {"scale_limit": [-0.5, -0.5], "p": 1}},
        {"Pad": {"padding": 6, "p": 1}},
        {"Perspective": {"scale": [0.1, 0.1], "fit_output": True, "p": 1}},
        {"OneOf": {"transforms": [{"SafeRotate": {"limit": [30, 30], "p": 1}}], "p": 1}},
    ],
    ids=lambda transform: next(iter(transform)),
)
def test_class_ids_of_pixels_from_outside_the_image_are_ignored(
    transform: dict[str, dict[str, JsonValue]],
) -> None:
    before = painted(48, 64, masks=True)
    whole = Sample("k", before.image_hwc, before.instances, np.ones((48, 64), np.uint8))
    after = one(classic(transform), whole)
    assert after.class_map_hw is not None and after.objects.masks_nhw is not None
    assert set(np.unique(after.class_map_hw).tolist()) == {1, IGNORE_ID}
    assert not (after.objects.masks_nhw & (after.class_map_hw == IGNORE_ID)).any()


def test_fill_mask_names_another_class_for_them() -> None:
    after = one(classic({"Pad": {"padding": 6, "fill_mask": 1, "p": 1}}), painted(masks=True))
    assert after.class_map_hw is not None and after.objects.masks_nhw is not None
    assert (after.class_map_hw[:6] == 1).all()
    assert not after.objects.masks_nhw[:, :6].any()


@pytest.mark.parametrize("factor", [0.5, 1.5, 2])
def test_masks_are_resized_without_a_shift(factor: float) -> None:
    before = painted(40, 80, masks=True)
    height, width = int(40 * factor), int(80 * factor)
    after = one(classic({"Resize": {"height": height, "width": width, "p": 1}}), before)
    assert np.abs(after.objects.boxes_n4 - before.objects.boxes_n4 * factor).max() <= 0.5


@pytest.mark.parametrize(
    "transform",
    [
        {"ThinPlateSpline": {"scale_range": [0.3, 0.3], "p": 1}},
        {"MaskDropout": {"p": 1}},
        {"Morphological": {"p": 1}},
    ],
    ids=lambda transform: next(iter(transform)),
)
def test_boxes_that_albumentations_would_lose_travel_as_masks(
    transform: dict[str, dict[str, JsonValue]],
) -> None:
    for seed in range(4):
        after = one(classic(transform), painted(64, 96), seed)
        assert after.objects.masks_nhw is None
        for box in after.objects.boxes_n4:
            assert max(paint_share(after.image_hwc, box, paint) for paint in range(3)) > 0.3


def test_a_reflecting_border_doubles_objects_each_with_its_own_mask() -> None:
    before = painted(40, 60, count=1, masks=True)
    after = one(classic({"Pad": {"padding": 40, "border_mode": 4, "p": 1}}), before)
    assert len(after.objects) > 1
    assert after.objects.masks_nhw is not None
    for box, mask in zip(after.objects.boxes_n4, after.objects.masks_nhw, strict=True):
        assert paint_share(after.image_hwc, box, 0) == 1
        assert mask.sum() == (box[2] - box[0]) * (box[3] - box[1])


def test_two_flips_of_one_sample_are_drawn_apart() -> None:
    op = classic({"HorizontalFlip": {"p": 0.5}}, {"VerticalFlip": {"p": 0.5}})
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    sample = Sample("k", image, None, None)
    results = {one(op, sample, seed).image_hwc.tobytes() for seed in range(40)}
    assert len(results) == 4


def test_what_was_done_before_changes_nothing_even_in_nested_groups() -> None:
    op = classic(
        {
            "OneOf": {
                "transforms": [
                    {"SomeOf": {"transforms": [{"D4": {}}, {"GaussNoise": {}}], "n": 1}},
                    {"Sequential": {"transforms": [{"ElasticTransform": {}}, {"Blur": {}}]}},
                ],
                "p": 0.9,
            }
        }
    )
    fresh = [one(op, painted(), seed) for seed in range(6)]
    for seed in (5, 3, 0, 0, 4):
        one(op, painted(30, 50, boxes=False, class_map=False), seed + 100)
        assert np.array_equal(one(op, painted(), seed).image_hwc, fresh[seed].image_hwc)


def test_a_crop_that_is_too_large_fails_the_sample_alone() -> None:
    op = classic({"RandomCrop": {"height": 50, "width": 50, "p": 1}})
    small, large = op.apply([painted(40, 40), painted(60, 60)], [{"seed": 1}] * 2, {}, {})
    assert isinstance(small, SampleError) and small.slug == "transform_failed"
    assert isinstance(large, Sample) and large.image_hwc.shape == (50, 50, 3)


def test_an_image_that_is_no_longer_rgb_fails_the_sample_alone() -> None:
    outcome = applied(classic({"ToGray": {"num_output_channels": 1, "p": 1}}), painted(), {})
    assert isinstance(outcome, SampleError) and outcome.slug == "not_an_image"
