"""What the tests of image files share: files by Pillow, and what becomes of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.images.formats import read_picture
from schemas.errors import SampleError
from schemas.sample import ImageArray
from tests.pipeline.shards import painted

NOISE = np.random.default_rng(3).integers(0, 256, (101, 117, 3), dtype=np.uint8)
IMAGE = painted(24, 30, [(3, 4, 12, 15)])


def saved(image: Image.Image, format: str = "png", **options: object) -> bytes:
    """By Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> ImageArray:
    """Of a file that is read."""
    return read_picture(data).image_hwc


def slug(data: bytes) -> str:
    """Of a file that is refused."""
    with pytest.raises(SampleError) as caught:
        read_picture(data)
    assert "\n" not in caught.value.detail
    return caught.value.slug
