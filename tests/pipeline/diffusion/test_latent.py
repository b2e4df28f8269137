"""Latent mode: a tiny real AutoencoderKL on disk, and the same laws as for pixels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from pipeline.diffusion.engine import Repaint, repaint
from pipeline.diffusion.latent import Latents, check_vae, load_latents, unit_tone
from pipeline.diffusion.native import NativeNet, load_native
from pipeline.diffusion.tone import Tone
from pipeline.models import describe
from pipeline.training.config import DenoiserTraining
from pipeline.training.denoising import DenoiserTask
from pipeline.training.session import Session
from schemas.errors import ModelError, SampleError
from schemas.models import NativeModel
from schemas.sample import ImageArray
from tests.pipeline.training.test_training import SOURCE

CPU = torch.device("cpu")


def tiny_vae(folder: Path) -> Path:
    """An untrained autoencoder, 4 pixels to a latent."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = AutoencoderKL(
            block_out_channels=(8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4,
            norm_num_groups=4,
        )
    vae.save_pretrained(folder, safe_serialization=True)
    return folder


def training(vae: Path) -> DenoiserTraining:
    return DenoiserTraining.model_validate(
        {
            "data": SOURCE,
            "out": "unused",
            "licence": "CC0",
            "net": {"patch": 1, "widths": [16, 32], "blocks": 1},
            "crop": 32,
            "batch": 2,
            "steps": 2,
            "precision": "fp32",
            "latent": {"vae": str(vae)},
            "label_dropout": 0,
        }
    )


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vae(tmp_path_factory.mktemp("vae"))


@pytest.fixture(scope="module")
def session(vae: Path) -> Session:
    return Session(training(vae), "denoiser", CPU)


@pytest.fixture(scope="module")
def folder(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, after two real steps."""
    for _ in range(2):
        session.step()
    out = tmp_path_factory.mktemp("model")
    session.task.save(out, session.state.result())
    return out


@pytest.fixture(scope="module")
def model(folder: Path, vae: Path) -> NativeNet:
    spec = NativeModel(native=str(folder))
    loaded = load_native(spec, describe(spec).digest, "cpu")
    assert isinstance(loaded, NativeNet)
    return loaded


def picture(height: int, width: int, seed: int = 0, deep: bool = False) -> ImageArray:
    rng = np.random.default_rng(seed)
    if deep:
        return rng.integers(100, 4000, (height, width, 1), dtype=np.uint16)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def task(image: ImageArray, strength: float = 0.6, seed: int = 0) -> Repaint:
    height, width = image.shape[:2]
    mask = np.zeros((height, width), bool)
    mask[height // 4 : height // 2 + 1, width // 3 :] = True
    labels = np.zeros((4, height, width), np.float32)
    return Repaint(image, mask, image, labels, strength, seed)


def made(outcome: ImageArray | SampleError) -> ImageArray:
    assert isinstance(outcome, np.ndarray)
    return outcome


def test_latents_have_no_mean_and_unit_deviation_over_the_data_set(session: Session) -> None:
    assert isinstance(session.task, DenoiserTask)
    batch = session.task.batch(session.crops, range(64), 64, CPU)
    assert batch.x0_bchw.shape == (64, 4, 8, 8)
    assert batch.noise_bchw.shape == (64, 4, 8, 8)
    assert batch.condition_bchw.shape == (64, 4, 8, 8)
    each = batch.x0_bchw.transpose(0, 1).flatten(1)
    torch.testing.assert_close(each.mean(1), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(each.std(1), torch.ones(4), atol=1e-3, rtol=0)


def test_a_label_map_keeps_its_share_of_every_cell(session: Session) -> None:
    assert isinstance(session.task, DenoiserTask)
    batch = session.task.batch(session.crops, range(8), 8, CPU)
    for k in range(8):
        crop, _, _ = session.crops.crop(k)
        assert crop.class_map_hw is not None
        share = (crop.class_map_hw == 1).reshape(8, 4, 8, 4).mean((1, 3))
        np.testing.assert_allclose(batch.condition_bchw[k, 2].numpy(), share, atol=1e-6)


def test_encoding_draws_nothing_and_knows_no_neighbours(vae: Path) -> None:
    latents = load_latents(vae, CPU)
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    both = latents.encode(image)
    assert torch.equal(both, latents.encode(image))
    assert torch.equal(both[1:], latents.encode(image[1:]))


@pytest.mark.parametrize("hw", [(64, 64), (37, 61), (5, 9)])
@pytest.mark.parametrize("deep", [False, True])
def test_outside_the_mask_every_bit_is_the_source(
    model: NativeNet, hw: tuple[int, int], deep: bool
) -> None:
    one = task(picture(*hw, deep=deep))
    out = made(repaint(model, [one], 2, 1.5)[0])
    assert out.dtype == one.image_hwc.dtype
    assert out.shape == one.image_hwc.shape
    assert (out[~one.mask_hw] == one.image_hwc[~one.mask_hw]).all()
    assert (out[one.mask_hw] != one.image_hwc[one.mask_hw]).any()


def test_neighbours_do_not_matter_and_the_same_draw_gives_the_same_bytes(model: NativeNet) -> None:
    tasks = [task(picture(40 + i, 40, seed=i), seed=i) for i in range(3)]
    together = repaint(model, tasks, 2, 1.0)
    alone = [repaint(model, [one], 2, 1.0)[0] for one in tasks]
    for a, b in zip(together, alone, strict=True):
        assert (made(a) == made(b)).all()


def test_nothing_of_what_was_in_a_hole_is_seen_by_the_model(model: NativeNet) -> None:
    one = task(picture(64, 64), strength=1.0)
    secret = one.image_hwc.copy()
    secret[one.mask_hw] = 255 - secret[one.mask_hw]
    tone = Tone.of(one.image_hwc, "linear")  # 255 - x: another image of nearly the same tone
    assert abs(Tone.of(secret, "linear").mean - tone.mean) < 0.05
    other = Repaint(secret, one.mask_hw, one.start_hwc, one.label_map_chw, 1.0, one.noise)
    a, b = (made(repaint(model, [each], 2, 1.0)[0]) for each in (one, other))
    assert (a[one.mask_hw] == b[one.mask_hw]).all()


def test_the_models_digest_covers_its_autoencoder(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "model"
    shutil.copytree(folder, copied)
    before = describe(NativeModel(native=str(copied))).digest
    assert before == describe(NativeModel(native=str(folder))).digest
    settings = copied / "vae" / "config.json"
    settings.write_text(settings.read_text() + " ")
    assert describe(NativeModel(native=str(copied))).digest != before
    settings.unlink()
    with pytest.raises(ModelError, match="not complete"):
        describe(NativeModel(native=str(copied)))


def test_an_image_comes_back_through_the_tone_of_an_autoencoder() -> None:
    for image in (picture(8, 8), np.repeat(picture(8, 8)[:, :, :1], 3, 2), picture(8, 8, 0, True)):
        tone = unit_tone(Tone.of(image, "linear"))
        values = tone.encode(image)
        assert values.shape == (8, 8, 3)
        assert values.min() >= -1
        assert np.abs(tone.decode(values).astype(int) - image).max() <= 1


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        load_latents(folder, CPU)
    return str(error.value)


def test_what_is_no_autoencoder_of_safetensors_is_refused_by_name(
    vae: Path, tmp_path: Path
) -> None:
    assert "no such file" in refused(tmp_path)
    shutil.copyfile(vae / "config.json", tmp_path / "config.json")
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    assert "diffusion_pytorch_model.safetensors: no such file" in refused(tmp_path)
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"damaged")
    assert "not an autoencoder that loads" in refused(tmp_path)
    settings = json.loads((vae / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"_class_name": "VQModel"}))
    assert "is VQModel" in refused(tmp_path)
    assert check_vae(vae) == 4


def test_latents_are_decoded_to_the_size_they_came_from(vae: Path) -> None:
    latents: Latents = load_latents(vae, CPU)
    image = torch.rand(1, 3, 32, 48) * 2 - 1
    assert latents.decode(latents.encode(image), None).shape == image.shape
