"""What a recipe adds to a pipeline, and what it is told where that does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from pipeline.adapters.diffusers import load
from schemas.errors import ModelError
from schemas.models import DiffusersModel
from tests import tiny_pipelines as tiny
from tests.pipeline.adapters.diffusers.looking import again, images, job, loaded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.saved(tmp_path_factory.mktemp("sd"), tiny.stable_diffusion)


@pytest.fixture(scope="module")
def lora(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from diffusers import StableDiffusionPipeline

    unet = tiny.unet()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    target = tmp_path_factory.mktemp("lora")
    layers = {name: 5 * value for name, value in get_peft_model_state_dict(unet).items()}
    StableDiffusionPipeline.save_lora_weights(
        target, unet_lora_layers=layers, weight_name="style.safetensors"
    )
    return target / "style.safetensors"


def test_a_lora_changes_the_picture_by_its_scale(folder: Path, lora: Path) -> None:
    def made(*loras: dict[str, Any]) -> Any:
        return images(again(folder, lora=list(loras)), [job(strength=1.0)])[0]

    plain, file = made(), {"lora": str(lora)}
    full, half = made(file), made({**file, "scale": 0.5})
    assert not np.array_equal(plain, full)
    assert not np.array_equal(half, full)
    assert np.array_equal(made({**file, "scale": 0.0}), plain)
    in_folder = {"lora": str(lora.parent), "file": lora.name}
    assert np.array_equal(made(in_folder), full)
    twice = made({**file, "scale": 0.5}, {**file, "scale": 0.5})
    assert np.abs(twice.astype(int) - full).max() <= 1


def test_a_lora_of_another_network_is_refused(folder: Path, lora: Path, tmp_path: Path) -> None:
    weights = load_file(lora)
    strange = {f"else.{name}": value for name, value in weights.items()}
    wider = {name: torch.cat([value, value], -1) for name, value in weights.items()}
    for name, content in (("strange", strange), ("wider", wider)):
        save_file(content, tmp_path / f"{name}.safetensors")
        with pytest.raises(ModelError, match=f"{name}.safetensors") as caught:
            again(folder, lora=str_lora(tmp_path / f"{name}.safetensors"))
        assert "\n" not in str(caught.value)


def str_lora(path: Path) -> dict[str, str]:
    return {"lora": str(path)}


def test_a_scheduler_by_name_takes_the_place_of_the_pipelines_own(folder: Path) -> None:
    settings = {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True}
    painter = again(folder, scheduler={"name": "DPMSolverMultistepScheduler", "settings": settings})
    scheduler = painter.any.scheduler
    assert type(scheduler).__name__ == "DPMSolverMultistepScheduler"
    assert scheduler.config.algorithm_type == "sde-dpmsolver++"
    assert scheduler.config.beta_start == 0.00085, "what is not said stays the pipeline's own"
    alone, together = images(painter, [job()]), images(painter, [job(noise=2), job()])
    assert np.array_equal(alone[0], together[1])


def test_another_vae_takes_the_place_of_the_pipelines_own(folder: Path, tmp_path: Path) -> None:
    tiny.saved(tmp_path, tiny.vae, seed=9)
    (own,) = images(again(folder), [job()])
    (other,) = images(again(folder, vae=str(tmp_path)), [job()])
    assert not np.array_equal(own, other)


def test_few_step_models_have_few_steps_and_no_guidance(folder: Path) -> None:
    usual = again(folder)
    assert (usual.usual_steps, usual.usual_guidance) == (30, 7.5)
    trailing = {"name": "EulerDiscreteScheduler", "settings": {"timestep_spacing": "trailing"}}
    for scheduler in ("LCMScheduler", "TCDScheduler", trailing):
        few = again(folder, scheduler=scheduler)
        assert (few.usual_steps, few.usual_guidance) == (4, 0)
    images(again(folder, scheduler="LCMScheduler"), [job()], steps=80)  # more than it learnt


def test_a_consistency_model_can_run_any_number_of_its_steps(tmp_path: Path) -> None:
    painter = loaded(tmp_path, tiny.lcm)
    images(painter, [job(strength=run / 50) for run in (1, 7, 28, 29)], steps=50)


def test_half_precision_makes_about_the_same_picture(folder: Path) -> None:
    (exact,) = images(again(folder), [job()])
    for precision in ("bf16", "fp16"):
        (made,) = images(again(folder, precision=precision), [job()])
        assert 0 < np.abs(made.astype(int) - exact).mean() < 6


def test_weights_that_do_not_fit_are_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["conv_in.weight"] = weights["conv_in.weight"][:, :2].contiguous()
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"conv_in\.weight has the shape") as caught:
        load(DiffusersModel(diffusers=str(tmp_path)), "cpu", False)
    assert "\n" not in str(caught.value)
