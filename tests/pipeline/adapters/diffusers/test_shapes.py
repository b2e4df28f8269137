"""The shapes that images are padded to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.diffusers.shapes import ROOM, Shapes
from pipeline.diffusion.buckets import bucket

SIDES = st.integers(1, 3000)
MODELS = (Shapes(512, 64), Shapes(1024, 32), Shapes(1024, 16), Shapes(64, 16), Shapes(40, 8))


@given(SIDES, SIDES, st.sampled_from(MODELS))
def test_every_image_fits_into_its_shape(height: int, width: int, shapes: Shapes) -> None:
    shape = shapes.of((height, width))
    assert shape[0] >= height
    assert shape[1] >= width
    assert shape[0] % shapes.multiple == shape[1] % shapes.multiple == 0
    assert bucket(shape, shapes.multiple) == shape, "what batches images leaves it as it is"
    if shapes.tiled(shape):
        assert min(shape) >= shapes.side, "no tile is smaller than what the model knows"
    else:
        assert shape[0] * shape[1] <= ROOM * shapes.side**2


@pytest.mark.parametrize("shapes", MODELS)
def test_buckets_are_few_and_native(shapes: Shapes) -> None:
    assert (shapes.side, shapes.side) in shapes.buckets
    assert len(shapes.buckets) <= 9


def test_known_sizes_have_the_shapes_that_one_would_choose() -> None:
    sd, xl = MODELS[0], MODELS[1]
    assert sd.of((37, 211)) == (512, 512)
    assert sd.of((480, 640)) == (512, 640)
    assert xl.of((768, 1024)) == (1024, 1024)
    assert xl.of((1080, 1920)) == (1152, 1920)
    assert sd.of((3, 1000)) == (320, 1024) or sd.of((3, 1000)) == (256, 1024)
    assert sd.tiled(sd.of((2000, 1500)))
