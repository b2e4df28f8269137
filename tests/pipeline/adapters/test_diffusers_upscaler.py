"""Diffusion upscalers: any size, each sample's own noise, prompts, tiles without a seam."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.auto.tokenization_auto import AutoTokenizer  # noqa: F401  registers them

from pipeline.adapters.diffusers import describe, load
from pipeline.adapters.diffusers.upscaler import (
    DiffusersUpscaler,
    check_upscaler,
    load_upscaler,
    upscaler_scale,
)
from pipeline.model import EnlargeJob, Upscaler
from pipeline.ops import SuperResolve
from schemas.errors import ModelError, SampleError
from schemas.models import DiffusersModel
from schemas.sample import ImageArray, Sample
from tests.pipeline.ops.examples import applied, deep, painted
from tests.pipeline.ops.test_laws import same_labels

FACTORS = {"x4": 4, "x2": 2}
every = pytest.mark.parametrize("name", FACTORS)


def _vae(levels: int) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=0.08333,
    )


def _text(folder: Path) -> dict[str, Any]:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    symbols = list(bytes_to_unicode().values())
    words = [*symbols, *(one + "</w>" for one in symbols), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=len(words) - 2,
        eos_token_id=len(words) - 1,
    )
    tokenizer = CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77
    )
    return {"text_encoder": CLIPTextModel(config), "tokenizer": tokenizer}


def _x4(folder: Path) -> Any:
    from diffusers import (
        DDIMScheduler,
        DDPMScheduler,
        StableDiffusionUpscalePipeline,
        UNet2DConditionModel,
    )

    unet = UNet2DConditionModel(
        sample_size=32,
        in_channels=7,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=8,
        norm_num_groups=4,
        num_class_embeds=1000,
    )
    return StableDiffusionUpscalePipeline(
        vae=_vae(3),
        unet=unet,
        low_res_scheduler=DDPMScheduler(),
        scheduler=DDIMScheduler(prediction_type="v_prediction"),
        **_text(folder),
    )


def _x2(folder: Path) -> Any:
    from diffusers import (
        EulerDiscreteScheduler,
        StableDiffusionLatentUpscalePipeline,
        UNet2DConditionModel,
    )

    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=8,
        out_channels=5,
        act_fn="gelu",
        block_out_channels=(32, 32, 64, 64),
        layers_per_block=1,
        down_block_types=("KDownBlock2D", *("KCrossAttnDownBlock2D",) * 3),
        up_block_types=(*("KCrossAttnUpBlock2D",) * 3, "KUpBlock2D"),
        mid_block_type=None,
        cross_attention_dim=16,
        attention_head_dim=8,
        norm_num_groups=None,
        time_embedding_type="fourier",
        timestep_post_act="gelu",
        time_cond_proj_dim=144,
        conv_in_kernel=1,
        conv_out_kernel=1,
        resnet_time_scale_shift="scale_shift",
    )
    scheduler = EulerDiscreteScheduler(prediction_type="sample")
    return StableDiffusionLatentUpscalePipeline(
        vae=_vae(4), unet=unet, scheduler=scheduler, **_text(folder)
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, make in (("x4", _x4), ("x2", _x2)):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            pipeline = make(tmp_path_factory.mktemp("words"))
        made[name] = tmp_path_factory.mktemp(name)
        pipeline.save_pretrained(made[name])
    return made


@pytest.fixture(scope="module")
def upscalers(folders: Mapping[str, Path]) -> Iterator[dict[str, DiffusersUpscaler]]:
    """In batches of two tiles: full ones would only cost time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.adapters.diffusers.upscaler.CPU_BATCH_PIXELS", 2 * 48 * 48)
        made = {}
        for name, folder in folders.items():
            spec = DiffusersModel(diffusers=str(folder), tile=64)
            model = load(spec, "cpu", False)
            assert isinstance(model, DiffusersUpscaler) and isinstance(model, Upscaler)
            made[name] = model
        yield made


def picture(height: int, width: int, seed: int = 0) -> ImageArray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def enlarged(
    model: DiffusersUpscaler, *jobs: EnlargeJob, guidance: float | None = None
) -> list[ImageArray]:
    made = model.upscale(jobs, model.kind.scale, 2, guidance)
    good = [one for one in made if not isinstance(one, SampleError)]
    assert len(good) == len(jobs), made
    return good


def test_the_factor_of_a_pipeline_is_told_by_its_class() -> None:
    assert upscaler_scale("StableDiffusionUpscalePipeline") == 4
    assert upscaler_scale("StableDiffusionLatentUpscalePipeline") == 2
    assert upscaler_scale("StableDiffusionPipeline") is None


@every
def test_images_of_any_size_are_enlarged_exactly_whatever_their_neighbours(
    name: str, upscalers: Mapping[str, DiffusersUpscaler]
) -> None:
    """Also where one of them has no prompt, and so no guidance."""
    model, factor = upscalers[name], FACTORS[name]
    jobs = [
        EnlargeJob(picture(37, 111), 1, "a cell"),
        EnlargeJob(picture(1, 1), 2),
        EnlargeJob(picture(3, 40), 3, "", "blurred"),
        EnlargeJob(picture(37, 111), 4),
        EnlargeJob(deep(painted(20, 30)).image_hwc, 5),
    ]
    together = enlarged(model, *jobs, guidance=3)
    for job, large in zip(jobs, together, strict=True):
        height, width, channels = job.image_hwc.shape
        assert large.shape == (height * factor, width * factor, channels)
        assert large.dtype == job.image_hwc.dtype
        assert np.array_equal(large, enlarged(model, job, guidance=3)[0])


@every
def test_the_noise_and_the_prompt_of_a_job_decide_and_global_state_does_not(
    name: str, upscalers: Mapping[str, DiffusersUpscaler]
) -> None:
    image = picture(40, 100)
    outcomes = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        outcomes += enlarged(upscalers[name], EnlargeJob(image, 7, "a cell"), guidance=3)
    one, again = outcomes
    (other,) = enlarged(upscalers[name], EnlargeJob(image, 8, "a cell"), guidance=3)
    (said,) = enlarged(upscalers[name], EnlargeJob(image, 7, "a whale in the sea"), guidance=3)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, said)


@every
def test_an_image_without_prompts_is_the_same_with_and_without_guidance(
    name: str, upscalers: Mapping[str, DiffusersUpscaler]
) -> None:
    job = EnlargeJob(picture(40, 60), 7)
    (one,) = enlarged(upscalers[name], job, guidance=1)
    (other,) = enlarged(upscalers[name], job, guidance=9)
    assert np.array_equal(one, other)


@every
def test_the_op_keeps_or_moves_labels_exactly(
    name: str, upscalers: Mapping[str, DiffusersUpscaler]
) -> None:
    before = painted(33, 70, masks=True)
    for then in ("keep", "restore"):
        op = SuperResolve.model_validate(
            {"model": "m", "scale": FACTORS[name], "then": then, "steps": 1, "prompt": "cells"}
        )
        after = applied(op, before, {"m": upscalers[name]})
        assert isinstance(after, Sample)
        if then == "restore":
            assert same_labels(before, after)
        else:
            boxes = before.objects.boxes_n4 * FACTORS[name]
            assert np.array_equal(after.objects.boxes_n4, boxes)


def test_the_card_says_the_factor_and_the_model_has_its_digest(
    folders: Mapping[str, Path], upscalers: Mapping[str, DiffusersUpscaler]
) -> None:
    for name, factor in (("x4", 4), ("x2", 2)):
        card = describe(DiffusersModel(diffusers=str(folders[name]), tile=64))
        assert (card.does, card.scales) == ({"upscale"}, {factor})
        assert upscalers[name].digest == card.digest
    assert len({model.digest for model in upscalers.values()}) == 2


def test_what_an_upscaler_does_not_have_is_refused_in_one_line() -> None:
    name = "StableDiffusionLatentUpscalePipeline"
    wrong = {"lora": {"lora": "x.safetensors"}, "vae": "x", "scheduler": "DDIMScheduler"}
    for field, value in wrong.items():
        spec = DiffusersModel.model_validate({"diffusers": "folder", field: value})
        with pytest.raises(ModelError, match=f"takes no {field}; leave it out"):
            check_upscaler(spec, name)


def test_a_folder_that_is_no_pipeline_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a pipeline that loads"):
        load_upscaler(DiffusersModel(diffusers=str(tmp_path)), "digest", "cpu")
