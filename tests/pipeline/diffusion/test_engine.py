"""The engine under the model ops: masks are kept to the bit, sizes and neighbours do not matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.diffusion import engine
from pipeline.diffusion.engine import Repaint, guided, repaint
from pipeline.diffusion.native import NativeNet
from pipeline.model import Painter
from schemas.errors import SampleError
from schemas.sample import ByteArray
from tests.models import tiny_denoiser

CHANNELS = 3  # two classes and "labels are given"


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> NativeNet:
    return tiny_denoiser(tmp_path_factory.mktemp("denoiser"))


def picture(height: int, width: int, seed: int = 0) -> ByteArray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def task(height: int, width: int, seed: int = 0, strength: float = 0.6) -> Repaint:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    labels = np.zeros((CHANNELS, height, width), np.float32)
    image = picture(height, width, seed)
    return Repaint(image, mask, image, labels, strength, seed)


def image(outcome: ByteArray | SampleError) -> ByteArray:
    assert isinstance(outcome, np.ndarray)
    return outcome


SIZES = [(1, 1), (3, 50), (37, 211), (16, 16), (64, 64), (65, 33)]


@pytest.mark.parametrize("strength", [0.05, 0.5, 1.0])
def test_outside_the_mask_every_bit_is_the_source_and_inside_it_changes(
    denoiser: NativeNet, strength: float
) -> None:
    tasks = [task(height, width, i, strength) for i, (height, width) in enumerate(SIZES)]
    for one, made in zip(tasks, repaint(denoiser, tasks, 2, 1.5), strict=True):
        assert (image(made)[~one.mask_hw] == one.image_hwc[~one.mask_hw]).all()
        if one.mask_hw.sum() > 100:
            assert (image(made)[one.mask_hw] != one.image_hwc[one.mask_hw]).mean() > 0.5


def test_a_chunk_of_mixed_sizes_gives_what_each_image_gives_alone(denoiser: NativeNet) -> None:
    tasks = [task(*SIZES[i % len(SIZES)], seed=i) for i in range(14)]
    together = repaint(denoiser, tasks, 2, 1.5)
    backwards = repaint(denoiser, tasks[::-1], 2, 1.5)[::-1]
    for one, a, b in zip(tasks, together, backwards, strict=True):
        alone = image(repaint(denoiser, [one], 2, 1.5)[0])
        assert (image(a) == alone).all()
        assert (image(b) == alone).all()


def test_the_number_of_threads_does_not_change_a_bit(denoiser: NativeNet) -> None:
    before = torch.get_num_threads()
    try:
        made = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append(image(repaint(denoiser, [task(96, 80)], 3, 1.5)[0]))
        assert (made[0] == made[1]).all()
    finally:
        torch.set_num_threads(before)


def test_other_noise_gives_another_image_and_the_same_noise_the_same(denoiser: NativeNet) -> None:
    one = task(32, 32)
    other = replace(one, noise=99)
    a, b, c = (image(made) for made in repaint(denoiser, [one, other, one], 2, 1.0))
    assert (a != b).any()
    assert (a == c).all()


def test_guidance_zero_ignores_the_labels_and_one_looks_once(denoiser: NativeNet) -> None:
    looks: list[torch.Tensor] = []

    class Spy(NativeNet):
        def __init__(self) -> None:
            self.__dict__.update(denoiser.__dict__)

        def predict(
            self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor
        ) -> torch.Tensor:
            looks.append(condition)
            return denoiser.predict(x, t, condition)

    x, t, labels = torch.zeros(1, 3, 16, 16), torch.tensor([0.5]), torch.ones(1, CHANNELS, 16, 16)
    guided(Spy(), x, t, labels, 0.0)
    guided(Spy(), x, t, labels, 1.0)
    assert [float(condition.mean()) for condition in looks] == [0.0, 1.0]
    conditional, free = denoiser.predict(x, t, labels), denoiser.predict(x, t, labels * 0)
    torch.testing.assert_close(guided(denoiser, x, t, labels, 2.0), free + 2 * (conditional - free))


def test_numbers_that_are_none_fail_the_sample_alone(
    denoiser: NativeNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nan_for_bright(x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return torch.where(condition.amax((1, 2, 3), keepdim=True) > 5, torch.nan, x)

    monkeypatch.setattr(denoiser, "predict", nan_for_bright)
    good, bad = task(16, 16, 0), task(16, 16, 1)
    bad.label_map_chw[:] = 9
    first, second = repaint(denoiser, [good, bad], 2, 1.0)
    assert isinstance(first, np.ndarray)
    assert isinstance(second, SampleError) and second.slug == "not_finite"


def test_an_image_larger_than_a_tile_is_made_in_tiles(
    denoiser: NativeNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest: list[int] = []
    whole = engine.tiled

    def small_tiles(predict, x, condition):  # type: ignore[no-untyped-def]
        def seen(part, map_):  # type: ignore[no-untyped-def]
            largest.append(max(part.shape[-2:]))
            return predict(part, map_)

        return whole(seen, x, condition, tile=32, overlap=16)

    monkeypatch.setattr(engine, "tiled", small_tiles)
    one = task(70, 100)
    made = image(repaint(denoiser, [one], 2, 1.0)[0])
    assert max(largest) == 32
    assert (made[~one.mask_hw] == one.image_hwc[~one.mask_hw]).all()


def test_a_model_goes_through_its_folder(tmp_path: Path) -> None:
    one = tiny_denoiser(tmp_path / "a", seed=1)
    again = tiny_denoiser(tmp_path / "b", seed=1)
    other = tiny_denoiser(tmp_path / "c", seed=2)
    assert one.digest == again.digest != other.digest
    assert isinstance(one, Painter)
