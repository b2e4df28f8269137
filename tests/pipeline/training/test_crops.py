"""Crops at several scales, of 8-bit colour and 16-bit gray: the paint stays under the labels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pipeline.training.crops import CropSet, cut, fitting, pad_to, turned
from schemas.recipe import Source
from schemas.sample import ImageArray, Instances, Sample
from tests.pipeline.training.test_training import SOURCE


def picture(height: int, width: int, deep: bool, seed: int = 0) -> ImageArray:
    rng = np.random.default_rng(seed)
    if deep:
        return rng.integers(0, 60000, (height, width, 1), dtype=np.uint16)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def painted(deep: bool) -> Sample:
    """A bright box on black, 64 pixels a side, with its class ids."""
    image = np.zeros((64, 64, 1) if deep else (64, 64, 3), np.uint16 if deep else np.uint8)
    image[16:40, 8:32] = 50000 if deep else 200
    ids = (image[:, :, 0] > 0).astype(np.uint8)
    return Sample("k", image, Instances(np.array([[8.0, 16, 32, 40]]), ("a",)), ids)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("scale", [0.5, 0.4])
def test_a_scaled_crop_is_cut_from_the_shrunk_image(deep: bool, scale: float) -> None:
    image = picture(80, 60, deep)
    sample = Sample("k", image, None, None)
    size, top, left = 20, 20, 10
    made = cut(sample, top, left, size, scale).image_hwc
    whole = np.stack(
        [
            np.asarray(
                Image.fromarray(image[:, :, c].astype(np.float32)).resize(
                    (int(60 * scale), int(80 * scale)), Image.Resampling.BICUBIC
                )
            )
            for c in range(image.shape[2])
        ],
        axis=2,
    )
    y, x = int(top * scale), int(left * scale)
    expected = np.clip(whole[y : y + size, x : x + size], 0, np.iinfo(image.dtype).max)
    assert made.dtype == image.dtype
    assert np.abs(made - expected).max() <= 0.5 + 1e-2


@pytest.mark.parametrize("deep", [False, True])
def test_labels_shrink_with_the_paint_under_them(deep: bool) -> None:
    out = cut(painted(deep), 8, 4, 20, 0.5)
    assert out.objects.boxes_n4.tolist() == [[2, 4, 14, 16]]
    inside = np.zeros((20, 20), bool)
    inside[4:16, 2:14] = True
    assert out.class_map_hw is not None
    assert ((out.class_map_hw == 1) == inside).all()
    bright = out.image_hwc[:, :, 0] > (25000 if deep else 100)
    assert (bright == inside).all()


def test_deep_gray_is_padded_and_turned_like_colour() -> None:
    deep, colour = painted(True), painted(False)
    for sample in (deep, colour):
        assert pad_to(sample, 80).image_hwc.shape[:2] == (80, 80)
    turns = [turned(sample, 1, True) for sample in (deep, colour)]
    assert turns[0].image_hwc.dtype == np.uint16
    assert ((turns[0].image_hwc[:, :, 0] > 0) == (turns[1].image_hwc[:, :, 0] > 0)).all()
    assert turns[0].objects.boxes_n4.tolist() == turns[1].objects.boxes_n4.tolist()


def test_an_image_is_never_shrunk_below_the_crop() -> None:
    assert fitting(0.5, 32, (64, 100)) == 0.5
    assert fitting(0.25, 32, (64, 100)) == 0.5
    assert fitting(0.25, 32, (32, 100)) == 1
    assert fitting(0.5, 32, (20, 100)) == 1


def test_several_scales_show_more_than_one_and_objects_of_other_sizes() -> None:
    source = Source.model_validate(SOURCE)
    one = CropSet(source, 32, False, "sqrt", 0)
    several = CropSet(source, 32, False, "sqrt", 0, scales=(0.25, 1.0))
    assert all(several.crop(k)[0].image_hwc.shape == (32, 32, 3) for k in range(20))
    counts = [sum(len(c.crop(k)[0].objects) for k in range(40)) for c in (one, several)]
    assert counts[1] > 2 * counts[0], "a crop of a quarter's scale holds 16 times the area"
