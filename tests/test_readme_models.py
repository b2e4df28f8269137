"""The README's recipes with other people's models, as they stand there, with tiny stand-ins in the
places that they name: a cache of repositories, and a file of weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from pipeline.chain.weave import RunContext, WovenCopy, weave_chunk
from pipeline.model_check import check_models
from pipeline.models import load_models
from pipeline.recipe import FullRecipe, load_recipe
from pipeline.source.plan import plan, read_chunk
from tests import tiny_pipelines as tiny
from tests.pipeline.adapters import networks
from tests.pipeline.shards import painted, png, tar_of

README = Path(__file__).parents[1] / "README.md"
BOXES = ((4, 5, 22, 23), (26, 8, 60, 40))
TINY = {
    "stable-diffusion-v1-5/stable-diffusion-inpainting": tiny.stable_diffusion_inpaint,
    "lllyasviel/control_v11p_sd15_canny": tiny.controlnet,
    "stabilityai/sdxl-turbo": tiny.sdxl,
}


def blocks() -> Iterator[tuple[str, str]]:
    """(name of the sink, text) of every recipe whose models are other people's."""
    for block in re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL):
        if "diffusers:" in block or "spandrel:" in block:
            yield re.findall(r"^sink: (\S+)", block, re.MULTILINE)[0], block


RECIPES = dict(blocks())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with data where the recipes look for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name, label in (("bccd", "RBC"), ("nuclei", "nucleus")):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for number in range(3):
            files = sample(f"s{number}", label) if number == 0 else []
            (folder / f"train-{number:06d}.tar").write_bytes(tar_of(files))
    return tmp_path


def sample(key: str, label: str) -> list[tuple[str, bytes]]:
    """A picture with two objects of a class of the dataset."""
    record = {"width": 64, "height": 48, "boxes": BOXES, "labels": [label] * 2}
    image = painted(48, 64, BOXES)
    ids = (image[:, :, 0] == 200).astype("uint8")
    return [
        (f"{key}.png", png(image)),
        (f"{key}.json", json.dumps(record).encode()),
        (f"{key}.seg.png", png(ids)),
    ]


def stand_in(recipe: FullRecipe, place: Path) -> None:
    """Tiny models of the same kind, where the recipe says that its own are."""
    for spec in recipe.models.values():
        named = spec.model_dump(mode="json")
        variant = named.get("variant")
        for model in (named, *named.get("controlnet", ())):
            repo = model.get("diffusers") or model.get("controlnet")
            if isinstance(repo, str):
                cached = place / "hub" / f"models--{repo.replace('/', '--')}"
                snapshot = cached / "snapshots" / str(model["revision"])
                tiny.saved(snapshot, TINY[repo])
                if variant:
                    for path in sorted(snapshot.rglob("*.safetensors")):
                        path.rename(path.with_suffix(f".{variant}.safetensors"))
        if "spandrel" in named:
            path = place / str(named["spandrel"])
            path.parent.mkdir(parents=True, exist_ok=True)
            networks.saved(path, lambda: networks.esrgan(scale=2))


def woven(recipe: FullRecipe) -> list[WovenCopy]:
    """One chunk, with the real models' code on a CPU."""
    check_models(recipe)
    models = load_models(recipe.models, "cpu")
    (chunk,) = plan(recipe.source, recipe.chunk_size, "digest").chunks
    context = RunContext("run", "digest", chunk.id)
    return weave_chunk(read_chunk(chunk, recipe.source), recipe, models, context)


def test_there_are_three_of_them() -> None:
    assert set(RECIPES) == {"out/bccd-surroundings", "out/nuclei-turbo", "out/bccd-large"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_loads_its_models_and_weaves(name: str, place: Path) -> None:
    (place / "recipe.yaml").write_text(RECIPES[name])
    recipe = load_recipe(place / "recipe.yaml")
    stand_in(recipe, place)
    made = woven(recipe)
    assert len(made) == recipe.copies
    assert {copy.row.status for copy in made} <= {"kept", "rejected"}
    for copy in made:
        assert [op.kind for op in copy.row.ops] == [recipe.ops[0].kind]
        prompted = bool(getattr(recipe.ops[0], "prompt", ()))
        assert ("prompt" in json.loads(copy.row.ops[0].draw)) == prompted
