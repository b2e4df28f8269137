"""Our U-Net is diffusers' one, to the bit, without what importing that one brings along."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel

from pipeline.diffusion.config import DenoiserConfig, read_config
from pipeline.diffusion.native import begin_from, build
from pipeline.diffusion.unet import UNet

ROOT = Path(__file__).parents[3]
WIDTHS = [((32, 48), 1), ((16, 32, 64), 2), ((16, 16, 32, 32), 3)]


def diffusers_net(
    channels_in: int, channels_out: int, widths: Sequence[int], blocks: int
) -> UNet2DModel:
    return UNet2DModel(
        in_channels=channels_in,
        out_channels=channels_out,
        block_out_channels=tuple(widths),
        layers_per_block=blocks,
        down_block_types=("DownBlock2D",) * len(widths),
        up_block_types=("UpBlock2D",) * len(widths),
        add_attention=False,
        norm_num_groups=16,
    )


@pytest.fixture(params=WIDTHS, ids=str)
def both(request: pytest.FixtureRequest) -> tuple[UNet, UNet2DModel]:
    """Ours and theirs, made from the same seed."""
    widths, blocks = request.param
    torch.manual_seed(0)
    ours = UNet(7, 5, widths, blocks)
    torch.manual_seed(0)
    theirs = diffusers_net(7, 5, widths, blocks)
    return ours, theirs


def test_weights_have_the_same_names_and_order_and_begin_the_same(
    both: tuple[UNet, UNet2DModel],
) -> None:
    ours, theirs = (net.state_dict() for net in both)
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    names = [[name for name, _ in net.named_parameters()] for net in both]
    assert names[0] == names[1]  # an optimizer's state goes by it


@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_gradients_are_the_same(both: tuple[UNet, UNet2DModel], training: bool) -> None:
    ours, theirs = (net.train(training) for net in both)
    x = torch.randn(2, 7, 16, 24, generator=torch.Generator().manual_seed(1))
    x, t = x.contiguous(memory_format=torch.channels_last), torch.tensor([3.0, 700.0])
    mine, its = ours(x, t), theirs(x, t, return_dict=False)[0]
    assert mine.std() > 0.1
    assert torch.equal(mine, its)
    mine.square().sum().backward()
    its.square().sum().backward()
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    assert all(torch.equal(one.grad, other.grad) for one, other in pairs)


def test_half_precision_and_large_batches_are_the_same(both: tuple[UNet, UNet2DModel]) -> None:
    ours, theirs = (net.eval().bfloat16() for net in both)
    x = torch.randn(65, 7, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.bfloat16)
    x, t = x.contiguous(memory_format=torch.channels_last), torch.linspace(0, 1000, 65)
    with torch.no_grad():
        assert torch.equal(ours(x, t), theirs(x, t, return_dict=False)[0])


@pytest.mark.parametrize("dataset", ["bccd", "nuclei"])
def test_the_shipped_weights_make_the_same_of_a_picture(dataset: str) -> None:
    folder = ROOT / "weights" / dataset / "denoiser"
    config = read_config(folder)
    assert isinstance(config, DenoiserConfig)
    net = build(config)
    begin_from(net, config, folder)
    ours = net.unet.eval()
    channels_in, channels_out = ours.conv_in.in_channels, ours.conv_out.out_channels
    theirs = diffusers_net(channels_in, channels_out, config.net.widths, config.net.blocks).eval()
    theirs.load_state_dict(ours.state_dict())
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, channels_in, 32, 24, generator=generator)
    x, t = x.contiguous(memory_format=torch.channels_last), torch.tensor([3.0, 700.0])
    with torch.no_grad():
        assert torch.equal(ours(x, t), theirs(x, t, return_dict=False)[0])


def test_a_native_model_is_run_without_importing_diffusers_and_what_that_brings() -> None:
    code = (
        "import sys, pipeline.diffusion.engine, pipeline.diffusion.native\n"
        "heavy = ('diffusers', 'transformers', 'peft', 'accelerate', 'torch._dynamo')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_image_of_one_position_may_be_alone_in_its_batch() -> None:
    net = UNet(3, 3, (16, 32), 1).eval()
    few = torch.randn(3, 3, 2, 2)
    with torch.inference_mode():
        together = net(few, torch.full((3,), 500.0))
        alone = net(few[:1], torch.tensor([500.0]))
    torch.testing.assert_close(alone, together[:1])
