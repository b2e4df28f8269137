"""The native upscaler: bicubic where it has learnt nothing, exact sizes, and no seams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.diffusion import upscaler as module
from pipeline.diffusion.enlarge import upscale
from pipeline.diffusion.native import NativeUpscaler
from pipeline.diffusion.resample import enlarged
from pipeline.diffusion.upscaler import UpscalerNet, UpscalerNetConfig, tiled_residual
from schemas.errors import SampleError
from schemas.sample import ByteArray
from tests.models import tiny_upscaler

SIZES = ((1, 1), (16, 16), (13, 40), (40, 13), (16, 16))
CONFIG = UpscalerNetConfig(width=8, blocks=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> NativeUpscaler:
    return tiny_upscaler(tmp_path_factory.mktemp("upscaler"))


def picture(height: int, width: int, seed: int) -> ByteArray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def image(made: ByteArray | SampleError) -> ByteArray:
    assert isinstance(made, np.ndarray)
    return made


@pytest.mark.parametrize("factor", [2, 4])
def test_sizes_are_exact_and_images_do_not_notice_each_other(
    model: NativeUpscaler, factor: int
) -> None:
    images = [picture(height, width, i) for i, (height, width) in enumerate(SIZES)]
    for one, made in zip(images, upscale(model, images, factor), strict=True):
        assert image(made).shape == (one.shape[0] * factor, one.shape[1] * factor, 3)
        assert (image(made) == image(upscale(model, [one], factor)[0])).all()


@pytest.mark.parametrize("factor", [2, 4])
def test_a_network_that_has_learnt_nothing_gives_bicubic(factor: int) -> None:
    from pipeline.diffusion.config import UpscalerConfig

    fresh = NativeUpscaler(UpscalerConfig(net=CONFIG), UpscalerNet(CONFIG), "fresh", "cpu")
    small = picture(20, 30, 1) // 3 + 80  # far from 0 and 255: Pillow also clips between its passes
    made = image(upscale(fresh, [small], factor)[0]).astype(int)
    assert np.abs(made - enlarged(small, factor)).max() <= 2  # and rounds


@pytest.mark.parametrize("factor", [2, 4])
def test_tiles_give_the_pixels_of_one_piece(factor: int) -> None:
    torch.manual_seed(0)
    net = UpscalerNet(CONFIG)
    for tail in net.tails.values():
        torch.nn.init.normal_(tail.weight)
    small = torch.randn(1, 3, 37, 50)
    with torch.inference_mode():
        whole = net(small, factor)
        torch.testing.assert_close(tiled_residual(net, small, factor, tile=16), whole)


def test_a_large_image_goes_through_in_tiles(
    model: NativeUpscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = []

    def watched(net: UpscalerNet, small: torch.Tensor, factor: int) -> torch.Tensor:
        return tiled_residual(net, small, factor, tile=16)

    def seen(self: UpscalerNet, small: torch.Tensor, factor: int) -> torch.Tensor:
        sides.append(max(small.shape[-2:]))
        return forward(self, small, factor)

    forward = UpscalerNet.forward
    monkeypatch.setattr(UpscalerNet, "forward", seen)
    monkeypatch.setattr("pipeline.diffusion.native.tiled_residual", watched)
    upscale(model, [picture(40, 70, 0)], 2)
    assert 16 < max(sides) <= 16 + 2 * CONFIG.reach
    assert module.TILE >= 256


def test_nan_is_a_sample_error(tmp_path: Path) -> None:
    broken = tiny_upscaler(tmp_path)
    with torch.no_grad():
        next(broken._net.parameters()).fill_(float("nan"))
    (made,) = upscale(broken, [picture(8, 8, 0)], 2)
    assert isinstance(made, SampleError)
    assert made.slug == "not_finite"
