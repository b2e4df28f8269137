"""A real recipe with diffusers' models, over a chunk of mixed sizes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.chain.weave import RunContext, WovenCopy, weave_chunk
from pipeline.model_check import check_models
from pipeline.models import load_models
from pipeline.recipe import FullRecipe
from pipeline.source.plan import EncodedSample
from tests import tiny_pipelines as tiny
from tests.pipeline.shards import sample_files

CONTEXT = RunContext("run-1", "recipe-1", "chunk-1")
SIZES = ((37, 211), (64, 64), (101, 150), (48, 60))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("models")
    makers = {
        "sd": tiny.stable_diffusion,
        "fill": tiny.stable_diffusion_inpaint,
        "net": tiny.controlnet,
    }
    for name, make in makers.items():
        tiny.saved(folder / name, make)
    control = {"controlnet": str(folder / "net"), "shows": "segmentation"}
    return {
        "painter": {"diffusers": str(folder / "sd"), "tile": tiny.NATIVE},
        "filler": {"diffusers": str(folder / "fill"), "tile": tiny.NATIVE},
        "maker": {"diffusers": str(folder / "sd"), "tile": tiny.NATIVE, "controlnet": control},
    }


def recipe(models: dict[str, Any], *ops: dict[str, Any]) -> FullRecipe:
    named = {op["model"] for op in ops}
    return FullRecipe.model_validate(
        {
            "source": {"shards": "in.tar", "segmentation": "seg.png", "classes": ["cell"]},
            "sink": "out",
            "seed": 7,
            "copies": 1,
            "models": {name: model for name, model in models.items() if name in named},
            "ops": [{"steps": 2, **op} for op in ops],
        }
    )


def encoded(key: str, height: int, width: int) -> EncodedSample:
    files = {name.partition(".")[2]: data for name, data in sample_files(key, height, width)}
    return EncodedSample(
        key, files["png"], "png", files["json"], files["seg.png"], f"hash-{key}", "in.tar"
    )


def woven(of: FullRecipe, keys: str = "abcd") -> list[WovenCopy]:
    check_models(of)
    sizes = dict(zip("abcd", SIZES, strict=True))
    samples = [encoded(key, *sizes[key]) for key in keys]
    return weave_chunk(samples, of, load_models(of.models, "cpu"), CONTEXT)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


OPS = {
    "noise": {
        "kind": "noise_denoise",
        "model": "painter",
        "protect": "objects",
        "prompt": "a microscope image of {{ counts.cell }} cells",
        "negative_prompt": "blurry",
    },
    "restyle": {"kind": "restyle", "model": "painter"},
    "redraw": {"kind": "inpaint", "model": "filler", "region": "redraw"},
    "holes": {"kind": "inpaint", "model": "filler", "region": "regions"},
    "synthesize": {"kind": "synthesize", "model": "maker", "layout": "own"},
}


@pytest.mark.parametrize("name", OPS)
def test_a_chunk_of_mixed_sizes_is_made_by_a_real_recipe(name: str, models: dict[str, Any]) -> None:
    of = recipe(models, OPS[name])
    copies = woven(of)
    for copy, (height, width) in zip(copies, SIZES, strict=True):
        assert copy.row.status == "kept", copy.row.reason
        key = copy.row.source_key
        source = dict(sample_files(key, height, width))
        before, after = pixels(source[f"{key}.png"]), pixels(copy.members["png"])
        assert after.shape == before.shape
        assert not np.array_equal(after, before)
        ids = pixels(source[f"{key}.seg.png"])
        assert np.array_equal(pixels(copy.members["seg.png"]), ids)
        if name == "noise":
            assert np.array_equal(after[ids > 0], before[ids > 0])


FAMILIES: dict[str, Callable[[], Any]] = {
    "sdxl": tiny.sdxl,
    "sd3": tiny.sd3,
    "flux": tiny.flux,
    "qwen-image": tiny.qwen_image,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_weaves_images_of_odd_sizes(family: str, tmp_path: Path) -> None:
    folder = tiny.saved(tmp_path / family, FAMILIES[family])
    model = {"diffusers": str(folder), "tile": tiny.NATIVE}
    op = {"kind": "noise_denoise", "model": "painter", "strength": 0.5, "prompt": "cells"}
    copies = woven(recipe({"painter": model}, op), "ad")
    for copy, (height, width) in zip(copies, (SIZES[0], SIZES[3]), strict=True):
        assert copy.row.status == "kept", copy.row.reason
        assert (copy.row.height, copy.row.width) == (height, width)
        source = dict(sample_files(copy.row.source_key, height, width))
        before = pixels(source[f"{copy.row.source_key}.png"])
        assert not np.array_equal(pixels(copy.members["png"]), before)


def test_a_replay_of_one_sample_makes_the_same_bytes(models: dict[str, Any]) -> None:
    of = recipe(models, OPS["noise"], OPS["holes"])
    together = {copy.row.source_key: copy for copy in woven(of)}
    for key in "ca":
        (alone,) = woven(of, key)
        assert (alone.row, alone.members) == (together[key].row, together[key].members)
