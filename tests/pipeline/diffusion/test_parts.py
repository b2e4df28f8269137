"""Tone, label maps, buckets, tiles and model folders, each by its law."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.diffusion.buckets import batches, bucket, pad
from pipeline.diffusion.config import read_config
from pipeline.diffusion.label_map import channels, label_map
from pipeline.diffusion.native import load_native
from pipeline.diffusion.resample import enlarged, resized_values
from pipeline.diffusion.tiling import tiled
from pipeline.diffusion.tone import Curve, Tone
from schemas.errors import ModelError, SampleError
from schemas.models import NativeModel
from schemas.sample import Instances, Sample
from tests.models import tiny_denoiser


@pytest.mark.parametrize("curve", ["linear", "sqrt"])
@pytest.mark.parametrize("contrast", [0, 1, 30, 255])
def test_every_gray_level_survives_the_tone_and_back(curve: Curve, contrast: int) -> None:
    levels = (np.arange(256) * contrast // 255).astype(np.uint8).reshape(16, 16, 1).repeat(3, 2)
    tone = Tone.of(levels, curve)
    assert (tone.decode(tone.encode(levels)) == levels).all()


def test_a_gray_image_stays_gray_and_a_coloured_one_does_not_lose_its_colour() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (8, 8, 1), dtype=np.uint8).repeat(3, 2)
    made = np.random.default_rng(1).standard_normal((8, 8, 3), dtype=np.float32)
    out = Tone.of(gray, "linear").decode(made)
    assert (out == out[:, :, :1]).all()
    coloured = gray.copy()
    coloured[0, 0, 0] ^= 1
    out = Tone.of(coloured, "linear").decode(made)
    assert (out != out[:, :, :1]).any()


def test_a_dim_image_and_a_bright_one_look_alike_to_the_network() -> None:
    scene = np.random.default_rng(0).integers(0, 20, (32, 32, 3), dtype=np.uint8)
    dim, bright = (Tone.of(image, "linear").encode(image) for image in (scene, scene * 10))
    np.testing.assert_allclose(dim, bright, atol=1e-4)


def sample(boxes: list[list[float]], labels: list[str], ids: np.ndarray | None = None) -> Sample:  # type: ignore[type-arg]
    image = np.zeros((20, 30, 3), np.uint8)
    return Sample("k", image, Instances(np.array(boxes, float).reshape(-1, 4), tuple(labels)), ids)


def test_a_label_map_has_a_dome_in_each_box_and_says_that_labels_are_given() -> None:
    ids = np.zeros((20, 30), np.uint8)
    ids[5:9, 5:9] = 1
    ids[0, 0] = 255
    made = label_map(sample([[4, 2, 14, 10]], ["b"], ids), ["a", "b"], ["back", "cell"])
    assert made.shape == (channels(["a", "b"], ["back", "cell"]), 20, 30)
    assert made[0].max() == 0
    assert made[1, 5:7, 8:10].min() > 0.9
    assert made[1, 2:10, 4:14].sum() == made[1].sum() > 0
    assert made[3].sum() == 16
    assert made[2].sum() == 20 * 30 - 16 - 1
    assert (made[4] == 1).all()


def test_boxes_beyond_the_border_keep_their_centre() -> None:
    made = label_map(sample([[-10, -10, 10, 10], [40, 40, 50, 50]], ["a", "a"]), ["a"], [])
    assert made[0, 0, 0] > 0.98
    assert made[0, 10:, :].max() == 0


def test_a_label_map_refuses_what_the_model_does_not_know() -> None:
    with pytest.raises(SampleError, match=r"unknown_class.*'z'.*a, b"):
        label_map(sample([[0, 0, 5, 5]], ["z"]), ["a", "b"], [])
    with pytest.raises(SampleError, match="no_class_map"):
        label_map(sample([], []), ["a"], ["back"])


@given(st.integers(1, 3000), st.sampled_from([4, 8, 16, 32]))
def test_a_bucket_is_a_little_larger_and_a_multiple(side: int, multiple: int) -> None:
    padded = bucket((side, 1), multiple)[0]
    assert padded % multiple == 0
    assert side <= padded < side + max(multiple, side / 8 + multiple)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=12))
def test_batches_hold_every_image_once_and_are_always_full(shapes: list[tuple[int, int]]) -> None:
    seen: set[int] = set()
    for shape, positions in batches(shapes, 16, 2**16):
        assert len(positions) == 2**16 // max(shape[0] * shape[1], 64 * 64)
        assert all(bucket(shapes[i], 16) == shape for i in positions)
        assert not seen & set(positions)
        seen |= set(positions)
    assert seen == set(range(len(shapes)))


def test_padding_reflects_as_often_as_needed_and_cuts_back() -> None:
    image = np.arange(2 * 3 * 1).reshape(2, 3, 1)
    padded = pad(image, (7, 16))
    assert padded.shape == (7, 16, 1)
    assert (padded[:2, :3] == image).all()
    assert pad(image[:1, :1], (4, 4)).tolist() == [[[0]] * 4] * 4


@settings(max_examples=25)
@given(st.integers(1, 150), st.integers(1, 150))
def test_tiles_cover_any_image_and_a_local_function_comes_out_as_it_is(
    height: int, width: int
) -> None:
    x = torch.rand(1, 3, height, width)
    out = tiled(lambda part, other: part * 2 + other, x, x, tile=32, overlap=8)
    torch.testing.assert_close(out, x * 3)


def test_enlarging_values_is_enlarging_pixels_without_the_rounding() -> None:
    image = np.random.default_rng(0).integers(60, 200, (13, 7, 3), dtype=np.uint8)
    values = resized_values(image.astype(np.float32), (52, 28))
    assert enlarged(image, 4).shape == values.shape == (52, 28, 3)
    assert np.abs(values - enlarged(image, 4)).max() < 1.5  # Pillow rounds twice


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing.config\.json: no such file"):
        read_config(tmp_path / "nothing")
    tiny_denoiser(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04not safetensors")
    with pytest.raises(ModelError, match="do not fit"):
        load_native(NativeModel(native=str(tmp_path)), "digest", "cpu")
    (tmp_path / "config.json").write_text('{"does": "dream"}')
    with pytest.raises(ModelError, match="not a native model's configuration"):
        read_config(tmp_path)
