"""What is said of a pipeline before it is loaded: what it can do, and why it is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.models import describe
from schemas.errors import ModelError
from schemas.models import DiffusersModel
from tests import tiny_pipelines as tiny

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion pipeline, and ControlNets for it and for Flux."""
    shelf = tmp_path_factory.mktemp("shelf")
    tiny.saved(shelf / "sd", tiny.stable_diffusion)
    tiny.saved(shelf / "controlnet", tiny.controlnet)
    return shelf


@pytest.fixture
def sd(shelf: Path, tmp_path: Path) -> Path:
    """A copy of its own, to be damaged."""
    return Path(shutil.copytree(shelf / "sd", tmp_path / "sd"))


def spec(folder: Path, **others: object) -> DiffusersModel:
    return DiffusersModel.model_validate({"diffusers": str(folder), **others})


def refusal(folder: Path, **others: object) -> str:
    with pytest.raises(ModelError) as caught:
        describe(spec(folder, **others))
    said = str(caught.value)
    assert "\n" not in said
    return said


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A JSON file, with something changed in it."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("make", "does"),
    [
        (tiny.stable_diffusion, {"denoise", "inpaint"}),
        (tiny.stable_diffusion_inpaint, {"denoise", "inpaint"}),
        (tiny.lcm, {"denoise"}),
        (tiny.sdxl, {"denoise", "inpaint"}),
        (tiny.sdxl_refiner, {"denoise", "inpaint"}),
        (tiny.sd3, {"denoise", "inpaint"}),
        (tiny.flux, {"denoise", "inpaint"}),
        (tiny.flux_fill, {"denoise", "inpaint"}),
        (tiny.qwen_image, {"denoise", "inpaint"}),
    ],
)
def test_every_family_says_what_it_can_do(
    tmp_path: Path, make: Callable[[], Any], does: set[str]
) -> None:
    card = describe(spec(tiny.saved(tmp_path / "pipeline", make)))
    assert does <= set(card.does)
    assert card.prompted
    assert "Pipeline" in card.about


def test_a_segmentation_controlnet_makes_it_a_synthesizer(shelf: Path) -> None:
    def does(shows: str) -> frozenset[str]:
        control = {"controlnet": str(shelf / "controlnet"), "shows": shows}
        return describe(spec(shelf / "sd", controlnet=control)).does

    assert "synthesize" in does("segmentation")
    assert "synthesize" not in does("canny")


def test_the_digest_is_that_of_what_is_loaded_wherever_it_lies(shelf: Path, sd: Path) -> None:
    before = describe(spec(shelf / "sd")).digest
    assert describe(spec(sd)).digest == before
    (sd / "README.md").write_text("nothing that is loaded")
    assert describe(spec(sd, offload=True)).digest == before
    weights = load_file(sd / WEIGHTS)
    weights["conv_in.bias"] = weights["conv_in.bias"] + 1
    save_file(weights, sd / WEIGHTS)
    assert describe(spec(sd)).digest != before


@pytest.mark.parametrize(
    "others",
    [
        {"scheduler": "DDIMScheduler"},
        {"precision": "fp16"},
        {"tile": 128},
        {"compile": True},
    ],
)
def test_everything_that_changes_pixels_changes_the_digest(
    shelf: Path, others: dict[str, object]
) -> None:
    assert describe(spec(shelf / "sd", **others)).digest != describe(spec(shelf / "sd")).digest


def test_the_scale_of_a_lora_and_its_bytes_are_part_of_the_digest(
    shelf: Path, tmp_path: Path
) -> None:
    def digest(value: float, scale: float, name: str) -> str:
        path = tmp_path / name
        save_file({"unet.x.lora_A.weight": torch.full((1, 2), value)}, path)
        return describe(spec(shelf / "sd", lora={"lora": str(path), "scale": scale})).digest

    first = digest(1.0, 0.5, "a.safetensors")
    assert digest(1.0, 0.5, "b.safetensors") == first
    assert digest(2.0, 0.5, "a.safetensors") != first
    assert digest(1.0, 0.6, "a.safetensors") != first


def test_pickled_weights_are_refused_by_name(sd: Path) -> None:
    (sd / WEIGHTS).rename(sd / "unet/diffusion_pytorch_model.bin")
    said = refusal(sd)
    assert "unet/diffusion_pytorch_model.bin: a pickle" in said
    assert "safe_serialization=True" in said


def test_pickles_beside_safetensors_are_left_where_they_are(sd: Path) -> None:
    (sd / "unet/diffusion_pytorch_model.bin").write_bytes(b"a pickle that nobody reads")
    assert describe(spec(sd)).does


def test_a_pickle_that_is_called_safetensors_is_refused(sd: Path) -> None:
    torch.save({"a": torch.zeros(1)}, sd / WEIGHTS)
    assert WEIGHTS in refusal(sd)


def test_missing_weights_are_said(sd: Path) -> None:
    (sd / WEIGHTS).unlink()
    assert "there are no weights" in refusal(sd)


@pytest.mark.parametrize("variant", ["fp16", "ema"])
def test_a_variant_that_is_not_there_is_said_with_those_that_are(sd: Path, variant: str) -> None:
    assert f"no weights of the variant {variant}; there are: none" in refusal(sd, variant=variant)


def test_a_variant_is_taken_where_every_part_has_it(sd: Path) -> None:
    for path in sorted(sd.glob("*/*.safetensors")):
        path.rename(path.with_suffix(".fp16.safetensors"))
    assert "no weights of the variant None; there are: fp16" in refusal(sd)
    assert describe(spec(sd, variant="fp16")).does


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda index: index.update(unet=["unet", "MyUNet"]), "code of its own"),
        (lambda index: index.update(unet=["my_unet", "UNet2DConditionModel"]), "code of its own"),
        (lambda index: index.update(unet=["diffusers", "NoSuchNet"]), "there is no NoSuchNet"),
        (lambda index: index.update(_class_name=["pipeline", "Mine"]), "code of its own"),
        (lambda index: index.update(_class_name="NoSuchPipeline"), "does not have"),
        (lambda index: index.update(_class_name="os.system"), "code of its own"),
        (lambda index: index.update(_class_name="AnimateDiffPipeline"), "can neither paint"),
    ],
)
def test_what_needs_code_of_its_own_or_is_of_no_use_is_refused(
    sd: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    edited(sd / "model_index.json", change)
    assert says in refusal(sd)


def test_an_auto_map_is_refused(sd: Path) -> None:
    edited(sd / "text_encoder/config.json", lambda c: c.update(auto_map={"AutoModel": "m.Mine"}))
    said = refusal(sd)
    assert "auto_map" in said
    assert "never run" in said


def test_weights_of_another_shape_than_their_configuration_are_said(sd: Path) -> None:
    weights = load_file(sd / WEIGHTS)
    weights["conv_in.weight"] = weights["conv_in.weight"][:, :3].contiguous()
    save_file(weights, sd / WEIGHTS)
    said = refusal(sd)
    assert "conv_in.weight has the shape" in said
    assert "not those of config.json" in said


def test_weights_of_another_network_are_said(sd: Path) -> None:
    save_file({"a": torch.zeros(1)}, sd / WEIGHTS)
    assert "is not among its weights" in refusal(sd)


def test_weights_of_another_text_encoder_are_said(sd: Path) -> None:
    save_file({"a": torch.zeros(1)}, sd / "text_encoder/model.safetensors")
    assert "not those of a CLIPTextModel" in refusal(sd)


def test_a_damaged_configuration_is_said(sd: Path) -> None:
    (sd / "unet/config.json").write_text("{")
    assert "unet/config.json: cannot be read as JSON" in refusal(sd)
    (sd / "unet/config.json").unlink()
    assert "no such file" in refusal(sd)


def test_a_folder_that_is_no_pipeline_says_so(tmp_path: Path) -> None:
    assert "model_index.json: no such file" in refusal(tmp_path)


def test_a_scheduler_that_is_not_there_is_said_with_the_nearest(sd: Path) -> None:
    said = refusal(sd, scheduler="DPMSolverMultistepSheduler")
    assert "did you mean DPMSolverMultistepScheduler?" in said


@pytest.mark.parametrize(
    ("lora", "says"),
    [
        ("lora.bin", "pickles"),
        ("lora.pt", "pickles"),
        ("lora.txt", "must be a .safetensors file"),
        ("missing.safetensors", "no such file"),
        ("false.safetensors", "is none"),
    ],
)
def test_lora_weights_are_safetensors_and_nothing_else(
    sd: Path, tmp_path: Path, lora: str, says: str
) -> None:
    (tmp_path / lora).write_bytes(b"not what it says") if "missing" not in lora else None
    assert says in refusal(sd, lora=str(tmp_path / lora))


def test_what_is_no_controlnet_is_said(sd: Path) -> None:
    control = {"controlnet": str(sd / "vae"), "shows": "canny"}
    assert "not a ControlNet" in refusal(sd, controlnet=control)


def test_a_controlnet_of_another_family_is_said(sd: Path, tmp_path: Path) -> None:
    from diffusers import ControlNetModel

    other = ControlNetModel.from_unet(tiny.unet(cross_attention_dim=48))
    other.save_pretrained(tmp_path / "other")
    control = {"controlnet": str(tmp_path / "other"), "shows": "canny"}
    assert "it is for another family" in refusal(sd, controlnet=control)


def test_a_depth_model_that_estimates_no_depth_is_said(shelf: Path, sd: Path) -> None:
    control = {
        "controlnet": str(shelf / "controlnet"),
        "shows": "depth",
        "depth_model": str(sd / "text_encoder"),
    }
    assert "not a depth estimator" in refusal(sd, controlnet=control)


def test_a_vae_that_is_none_is_said(sd: Path) -> None:
    assert "config.json" in refusal(sd, vae=str(sd))
