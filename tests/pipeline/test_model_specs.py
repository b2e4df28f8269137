"""Models in a recipe: which kinds there are, and what a mistake in one is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.recipe import FullRecipe, load_recipe
from schemas.errors import RecipeError
from schemas.models import DiffusersModel, NativeModel, OnnxModel, TorchvisionModel


def recipe(folder: Path, model: str) -> FullRecipe:
    path = folder / "recipe.yaml"
    path.write_text(
        "source: {shards: a.tar}\nsink: out\n"
        "ops: [{kind: noise_denoise, model: m}]\nmodels:\n"
        f"  m: {model}\n"
    )
    return load_recipe(path)


@pytest.mark.parametrize(
    ("model", "place", "hint"),
    [
        ("{native: 3}", "models.m.native", "text, not empty"),
        ("{native: ''}", "models.m.native", "text, not empty"),
        ("{natve: x}", "models.m.natve", "did you mean native?"),
        ("{}", "models.m", "does not say of what kind it is"),
        ("weights/x", "models.m", "a mapping with one of the keys diffusers, native, onnx"),
        ("{native: x, spandrel: y}", "models.m.spandrel", "legal keys: native"),
        ("{diffusers: x, revison: y}", "models.m.revison", "did you mean revision?"),
        ("{diffusers: x, precision: bf17}", "models.m.precision", "did you mean bf16?"),
        ("{diffusers: x, custom_pipeline: y}", "models.m.custom_pipeline", "no such key"),
        ("{diffusers: x, trust_remote_code: yes}", "models.m.trust_remote_code", "no such key"),
        ("{diffusers: x, tile: 8}", "models.m.tile", "at least 64"),
        ("{diffusers: x, scheduler: '../x'}", "models.m.scheduler", "name"),
        (
            "{diffusers: x, controlnet: {controlnet: y, shows: dept}}",
            "models.m.controlnet.shows",
            "did you mean depth?",
        ),
        (
            "{diffusers: x, controlnet: [{controlnet: y, shows: canny}, {shows: canny}]}",
            "models.m.controlnet[1].controlnet",
            "is missing",
        ),
        (
            "{diffusers: x, controlnet: {controlnet: y, shows: depth}}",
            "models.m.controlnet.depth_model",
            "is missing",
        ),
        (
            "{diffusers: x, controlnet: {controlnet: y, shows: canny, palette: {a: [0, 0, 0]}}}",
            "models.m.controlnet.palette",
            "is for shows: segmentation",
        ),
        ("{diffusers: x, lora: [{lora: a, scale: 99}]}", "models.m.lora[0].scale", "at most 4"),
        ("{onnx: a}", "models.m.classes", "is missing"),
        ("{onnx: a, classes: {b: c}}", "models.m.classes.b", "b"),
        ("{onnx: a, classes: {1: c}, threshold: 2}", "models.m.threshold", "at most 1"),
        ("{torchvision: 'A/b', weights: a, classes: {1: a}}", "models.m.torchvision", "A/b"),
    ],
)
def test_a_mistake_in_a_model_is_named_with_its_place(
    tmp_path: Path, model: str, place: str, hint: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(tmp_path, model)
    said = str(caught.value)
    assert f"{place}: " in said
    assert hint in said
    assert ": 1 mistake\n" in said


def test_what_stands_alone_needs_no_list_and_no_mapping(tmp_path: Path) -> None:
    for short, long in (
        ("lora: a.safetensors", "lora: [{lora: a.safetensors}]"),
        ("vae: v", "vae: {repo: v}"),
        ("scheduler: DDIMScheduler", "scheduler: {name: DDIMScheduler, settings: {}}"),
        (
            "controlnet: {controlnet: c, shows: canny}",
            "controlnet: [{controlnet: c, shows: canny}]",
        ),
    ):
        alone, written = (recipe(tmp_path, f"{{diffusers: x, {one}}}") for one in (short, long))
        assert alone.models == written.models


def test_numbers_of_classes_need_no_quotes(tmp_path: Path) -> None:
    model = recipe(tmp_path, "{onnx: a.onnx, classes: {0: background, 12: cell}}").models["m"]
    assert isinstance(model, OnnxModel)
    assert model.classes == {0: "background", 12: "cell"}


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("{native: a}", NativeModel),
        ("{diffusers: a/b, lora: {lora: c/d, file: e.safetensors}}", DiffusersModel),
        ("{torchvision: fcos_resnet50_fpn, weights: a, classes: {1: cell}}", TorchvisionModel),
    ],
)
def test_a_model_keeps_its_kind_on_the_way_to_a_worker(
    tmp_path: Path, model: str, kind: type
) -> None:
    read = recipe(tmp_path, model)
    again = FullRecipe.model_validate_json(read.model_dump_json())
    assert type(again.models["m"]) is kind
    assert again == read
