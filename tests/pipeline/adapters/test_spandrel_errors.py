"""What is wrong with a file or a recipe is said in one line, before anything is made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.model_check import check_models
from pipeline.models import describe
from pipeline.recipe import FullRecipe
from schemas.errors import ModelError, RecipeError
from schemas.models import SpandrelModel
from tests.pipeline.adapters.networks import compact, esrgan, lama, mat, saved, small_fillers


def mistake(path: Path, tile: int | None = None) -> str:
    with pytest.raises(ModelError) as caught:
        describe(SpandrelModel(spandrel=str(path), tile=tile))
    said = str(caught.value)
    assert path.name in said and "\n" not in said
    return said


@pytest.mark.parametrize("name", ["x.pth", "x.pt", "x.ckpt", "x.bin"])
def test_a_pickle_is_refused_by_name_and_never_opened(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.mkdir()  # which cannot be read
    assert "pickles" in mistake(path)


def test_a_file_that_is_called_safetensors_and_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"PK\x03\x04 a pickle in a zip")
    assert "is none" in mistake(path)
    path.write_bytes((99).to_bytes(8, "little") + b"{ not JSON" + b" " * 99)
    assert "damaged" in mistake(path)
    assert "no such file" in mistake(tmp_path / "away.safetensors")


def test_weights_of_no_architecture_or_of_two_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"layer.weight": torch.zeros(3, 3)}, path)
    assert "no architecture that spandrel knows" in mistake(path)
    weights = load_file(saved(path, esrgan))
    name = next(name for name in weights if name.endswith("weight") and "sub" in name)
    save_file(weights | {name: torch.zeros(8, 8, 5, 5)}, path)
    assert "do not fit together" in mistake(path)


def test_a_network_that_does_no_job_is_refused(tmp_path: Path) -> None:
    assert "restores" in mistake(saved(tmp_path / "y.safetensors", lambda: compact(1)))


def test_a_network_of_other_channels_is_refused(tmp_path: Path) -> None:
    said = mistake(saved(tmp_path / "x.safetensors", lambda: esrgan(2, channels=4)))
    assert "4 channels" in said


def test_mat_says_what_to_install_where_its_package_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_fillers(monkeypatch)
    path = saved(tmp_path / "mat.safetensors", mat)
    assert "512 alone" in mistake(path, tile=1024)
    monkeypatch.setitem(sys.modules, "spandrel_extra_arches", None)
    assert "noiseloom[noncommercial]" in mistake(path)


def misfit(path: Path, **op: Any) -> str:
    recipe = FullRecipe.model_validate(
        {
            "source": {"shards": "in.tar"},
            "sink": "out",
            "ops": [{"model": "m", **op}],
            "models": {"m": {"spandrel": str(path)}},
        }
    )
    with pytest.raises(RecipeError) as caught:
        check_models(recipe)
    return str(caught.value)


def test_an_upscaler_of_another_factor_or_for_another_job_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.safetensors", esrgan)
    said = misfit(path, kind="super_resolve", scale=2)
    assert "ops[0].scale" in said and "enlarges 4 times" in said
    said = misfit(path, kind="inpaint", region="remove")
    assert "cannot inpaint" in said and "it can upscale" in said
    assert "takes no text" in misfit(path, kind="super_resolve", scale=4, prompt="sharp")


def test_a_filler_is_refused_where_objects_would_vanish_whose_labels_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_fillers(monkeypatch)
    path = saved(tmp_path / "lama.safetensors", lama)
    for fields in ({"region": "redraw"}, {"region": "regions"}):
        said = misfit(path, kind="inpaint", **fields)
        assert "cannot redraw" in said and "whose labels stay" in said
    assert "cannot denoise" in misfit(path, kind="noise_denoise")
