"""What travels with a recipe, and what is refused because no other machine could reach it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jobs.cluster import package
from jobs.cluster.package import make_package
from pipeline.recipe import load_recipe
from schemas.errors import RecipeError
from tests.jobs.cluster.fake_jobs import RECIPE, recipe_file
from tests.models import tiny_denoiser

PAINTED = """
source: {shards: "s3://lab/cells/train-*.tar", classes: [cell]}
sink: s3://lab/woven
ops:
  - {kind: noise_denoise, model: denoiser, strength: 0.3, steps: 2, prompt: {file: prompts.txt}}
models: {denoiser: {native: models/denoiser}}
tracking: {uri: null}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def written(made: package.Package, folder: Path) -> Path:
    folder.mkdir()
    made.write(folder)
    return folder


def test_a_recipe_travels_as_it_was_written(here: Path) -> None:
    made = make_package(recipe_file(here))
    assert names(written(made, here / "to")) == ["cells.yaml"]
    assert (here / "to/cells.yaml").read_text() == RECIPE


def test_prompts_and_models_of_relative_paths_travel_and_the_recipe_loads_there(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_denoiser(here / "models/denoiser", classes=("cell",))
    (here / "prompts.txt").write_text("a cell\ntwo cells\n")
    file = recipe_file(here, PAINTED)
    there = written(make_package(file), here / "to")
    assert "models/denoiser/model.safetensors" in names(there)
    assert "prompts.txt" not in names(there)  # its lines are in the recipe
    before = load_recipe(file)
    monkeypatch.chdir(there)
    assert load_recipe("cells.yaml") == before


def test_a_lift_test_travels_with_the_recipes_of_its_arms(here: Path) -> None:
    (here / "lift").mkdir()
    recipe_file(here / "lift", name="arm.yaml")
    lift = """
data: {shards: "s3://lab/cells/train-*.tar", classes: [cell]}
validation: {shards: "s3://lab/cells/val-*.tar", classes: [cell]}
out: OUT
images: 4
student: {kind: fcos}
baseline: real
arms: {real: {}, woven: {recipe: lift/arm.yaml}}
tracking: {uri: null}
"""
    (here / "lift/test.yaml").write_text(lift.replace("OUT", "s3://lab/lift"))
    asked = RECIPE + "publish: {require: not_hurting, lift: lift/test.yaml}\n"
    made = make_package(recipe_file(here, asked))
    assert sorted(made.files) == ["lift/arm.yaml", "lift/test.yaml"]
    (here / "lift/test.yaml").write_text(lift.replace("OUT", "out/lift"))
    with pytest.raises(RecipeError, match=r"lift/test\.yaml: out: out/lift is .*--shared DIR"):
        make_package(recipe_file(here, asked))
    text = lift.replace("OUT", "s3://lab/lift").replace("null", "sqlite:///mlflow.db")
    (here / "lift/test.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"lift/test\.yaml: tracking\.uri: sqlite"):
        make_package(recipe_file(here, asked))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("s3://lab/woven", "out/woven", r"sink: out/woven is on this machine.*--shared DIR"),
        ("s3://lab/cells", "data/cells", r"source\.shards\[0\]: data/cells.* is on this machine"),
        ('"https://mlflow.example.com"', '"sqlite:///mlflow.db"', r"tracking\.uri: sqlite"),
    ],
)
def test_what_no_other_machine_reaches_is_refused_with_its_place(
    here: Path, old: str, new: str, says: str
) -> None:
    with pytest.raises(RecipeError, match=says):
        make_package(recipe_file(here, RECIPE.replace(old, new)))


def test_a_folder_that_all_nodes_have_is_reached(here: Path) -> None:
    text = RECIPE.replace("s3://lab", "/mnt/lab")
    assert make_package(recipe_file(here, text), shared=("/mnt/lab/",)).recipe.sink.startswith("/")
    with pytest.raises(RecipeError, match="/mnt/lab"):
        make_package(recipe_file(here, text), shared=("/mnt/la",))


def test_a_model_that_is_not_here_cannot_travel(here: Path) -> None:
    (here / "prompts.txt").write_text("a cell\n")
    with pytest.raises(RecipeError, match=r"models\.denoiser: models/denoiser is on this machine"):
        make_package(recipe_file(here, PAINTED))


def test_a_working_tree_travels_without_data_and_without_what_git_ignores(here: Path) -> None:
    tree = here / "tree"
    for path in ("jobs/a.py", "data/x.tar", "out/y.tar", "weights/w", "secret.env", "jobs/new.py"):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text("x")
    (tree / ".gitignore").write_text("*.env\n")
    file = recipe_file(here)
    assert "secret.env" in make_package(file, tree=tree).files  # it is none of git's yet
    subprocess.run(["git", "init", "-q", str(tree)], check=True)
    subprocess.run(["git", "-C", str(tree), "add", "jobs/a.py"], check=True)
    made = make_package(file, tree=tree)
    assert sorted(made.files) == [".gitignore", "jobs/a.py", "jobs/new.py"]
    assert names(written(made, here / "to")) == [
        ".gitignore",
        "cells.yaml",
        "jobs/a.py",
        "jobs/new.py",
    ]


def test_too_much_to_travel_is_refused_with_what_is_largest(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "LIMIT", 2**20)
    tree = here / "tree"
    tree.mkdir()
    (tree / "big.bin").write_bytes(bytes(3 * 2**20))
    with pytest.raises(RecipeError, match=r"has 3 MiB, and 1 are the limit: big\.bin \(3 MiB\)"):
        make_package(recipe_file(here), tree=tree)


def test_a_name_that_no_shell_takes_is_refused(here: Path) -> None:
    with pytest.raises(RecipeError, match="goes through a shell"):
        make_package(recipe_file(here, name="a b.yaml"))
