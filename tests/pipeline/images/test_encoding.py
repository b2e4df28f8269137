"""What is written can be read, is what was asked for, and is the same every time."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from pipeline.images.encoding import encode_ids, encode_image, encode_png
from pipeline.images.formats import read_picture
from schemas.errors import SampleError
from schemas.recipe import Output
from schemas.sample import ByteArray, ImageArray
from tests.pipeline.shards import painted

IMAGE = painted(24, 40, [(4, 4, 20, 16)])
DEEP = np.random.default_rng(1).integers(0, 65536, (24, 40, 1), dtype=np.uint16)
OUTPUTS = [
    Output(),
    Output(format="jpeg"),
    Output(format="jpeg", quality=40, subsampling="4:2:0"),
    Output(format="webp"),
    Output(format="webp", lossless=True),
]
every_output = pytest.mark.parametrize(
    "output", OUTPUTS, ids=lambda output: "-".join(map(str, output.model_dump().values()))
)


def back(data: bytes) -> ImageArray:
    return read_picture(data).image_hwc


def opened(output: Output, image: ByteArray = IMAGE) -> Image.Image:
    return Image.open(io.BytesIO(encode_image(image, output)))


@every_output
def test_the_same_pixels_give_the_same_bytes(output: Output) -> None:
    assert encode_image(IMAGE, output) == encode_image(IMAGE.copy(), output)


@every_output
def test_a_format_is_lossless_if_and_only_if_it_says_so(output: Output) -> None:
    assert np.array_equal(back(encode_image(IMAGE, output)), IMAGE) != output.lossy
    assert opened(output).format == output.format.upper()


def test_deep_gray_is_kept_by_png_and_refused_by_name_elsewhere() -> None:
    assert np.array_equal(back(encode_image(DEEP, Output())), DEEP)
    for output in OUTPUTS[1:]:
        with pytest.raises(SampleError) as caught:
            encode_image(DEEP, output)
        assert caught.value.slug == "deep_image"
        assert "png keeps 16" in caught.value.detail


@pytest.mark.parametrize(("words", "number"), [("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)])
def test_subsampling_is_that_of_the_recipe(words: str, number: int) -> None:
    output = Output.model_validate({"format": "jpeg", "subsampling": words})
    assert JpegImagePlugin.get_sampling(opened(output)) == number


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_more_quality_is_nearer_to_the_pixels(format: str) -> None:
    sizes, errors = [], []
    for quality in (1, 30, 60, 100):
        data = encode_image(IMAGE, Output.model_validate({"format": format, "quality": quality}))
        sizes.append(len(data))
        errors.append(float(np.abs(back(data).astype(int) - IMAGE).mean()))
    assert sizes == sorted(sizes)
    assert errors[-1] == min(errors)


@pytest.mark.parametrize(("format", "side"), [("jpeg", 65_501), ("webp", 16_384)])
def test_an_image_too_large_for_the_format_is_refused_by_name(format: str, side: int) -> None:
    image = np.zeros((1, side, 3), np.uint8)
    with pytest.raises(SampleError) as caught:
        encode_image(image, Output.model_validate({"format": format}))
    assert caught.value.slug == "too_large"
    assert encode_image(image[:, 1:], Output.model_validate({"format": format}))


def test_ids_and_plain_arrays_are_png() -> None:
    ids = IMAGE[:, :, 0] // 100
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_ids(ids)))), ids)
    assert np.array_equal(back(encode_png(IMAGE)), IMAGE)
