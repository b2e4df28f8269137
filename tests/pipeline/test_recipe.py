"""A mistake in a recipe is said on one screen, with its place and what is legal there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from pipeline.model_check import check_models
from pipeline.recipe import load_recipe
from schemas.errors import RecipeError
from schemas.index import SCHEMA_VERSION
from schemas.recipe import RepairPolicies, digest_of

GOOD = """
    source: {shards: a.tar, segmentation: seg.png}
    sink: out
    seed: 3
    ops:
      - {kind: classic, transforms: [HorizontalFlip: {p: 0.5}], p: 0.5}
      - {kind: noise_denoise, model: denoiser, strength: [0.2, 0.4]}
    gates: [{kind: fidelity, psnr: [5, 60]}]
    models: {denoiser: {native: weights/x}}
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(dedent(GOOD))
    return path


def mistake(path: Path, old: str, new: str) -> str:
    """What is said of the good recipe with one thing changed."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    said = str(caught.value)
    assert len(said.splitlines()) <= 40
    assert "pydantic" not in said
    return said


def test_a_recipe_without_mistakes_is_read(written: Path) -> None:
    recipe = load_recipe(written)
    assert [op.kind for op in recipe.ops] == ["classic", "noise_denoise"]
    assert recipe.source.shards == ("a.tar",)


def test_a_recipe_survives_the_way_to_a_worker(written: Path) -> None:
    recipe = load_recipe(written)
    again = type(recipe).model_validate_json(recipe.model_dump_json())
    assert again == recipe
    assert again.digest({}) == recipe.digest({})


@pytest.mark.parametrize(
    ("old", "new", "place", "hint"),
    [
        ("classic", "clasic", "ops[0].kind", "did you mean classic?"),
        ("kind: classic,", "", "ops[0].kind", "legal kinds: classic"),
        ("fidelity", "fidelty", "gates[0].kind", "did you mean fidelity?"),
        ("strength", "strenght", "ops[1].strenght", "did you mean strength?"),
        ("[0.2, 0.4]", "[0.2, 1.4]", "ops[1].strength[1]", "at most 1"),
        ("[0.2, 0.4]", "high", "ops[1].strength", '"high"'),
        ("[0.2, 0.4]", "adaptiv", "ops[1].strength", "did you mean adaptive?"),
        ("[0.2, 0.4]", "[0.4, 0.2]", "ops[1].strength", "runs backwards; write [0.2, 0.4]"),
        ("p: 0.5}\n", "p: 1.5}\n", "ops[0].p", "at most 1"),
        ("shards", "shard", "source.shard", "did you mean shards?"),
        ("source: {shards: a.tar, segmentation: seg.png}", "", "source", "is missing"),
        ("sink: out", "sink: ''", "sink", "not empty"),
        ("seed: 3", "seed: -3", "seed", "at least 0"),
        ("seed: 3", "sead: 3", "sead", "did you mean seed?"),
        ("seed: 3", "copies: 0", "copies", "at least 1"),
        ("seed: 3", "copies: many", "copies", "a whole number"),
        ("seed: 3", "resources: {pool: [2, 1]}", "resources.pool", "[2, 1]"),
        ("seed: 3", "resources: {gpu: 1}", "resources.gpu", "did you mean gpus?"),
        ("seed: 3", "budget: {failed: 2}", "budget.failed", "at most 1"),
        ("seed: 3", "publish: {require: helps, lift: l}", "publish.require", "mean helping?"),
        ("seed: 3", "publish: {require: helping, lift: l}", "publish.lift", "no such file"),
        ("seed: 3", "budget: {rare: 0}", "budget.rare", "above 0"),
        ("seed: 3", "budget: {rare: 0.1, most: 0.5}", "budget.most", "at least 1"),
        ("model: denoiser", "model: denoisr", "ops[1].model", "did you mean denoiser?"),
        ("native", "nativ", "models.denoiser.nativ", "did you mean native?"),
        ("HorizontalFlip", "HorizontlFlip", "ops[0].transforms[0]", "HorizontalFlip"),
        ("psnr: [5, 60]", "psnr: [60, 5]", "gates[0].psnr", "60"),
        ("sink: out", "sink: 's3://me:secret@lab/x'", "sink", "environment"),
        ("seed: 3", "output: {format: jpg}", "output.format", "did you mean jpeg?"),
        ("seed: 3", "output: {format: jpeg, quality: 0}", "output.quality", "at least 1"),
        ("seed: 3", "output: {qualty: 9}", "output.qualty", "did you mean quality?"),
        ("seed: 3", "output: {subsampling: 4:1:1}", "output.subsampling", '"4:2:0"'),
        ("seed: 3", "output: {quality: 90}", "output", "not a setting of png"),
        ("seed: 3", "output: {format: webp, subsampling: 4:2:0}", "output", "quality and lossless"),
        ("seed: 3", "output: {format: webp, lossless: yes, quality: 9}", "output", "not both"),
        ("seg.png", "png", "output.format", "which source.segmentation names"),
        ("a.tar", "a.tar, repair: {box_emty: drop_box}", "repair.box_emty", "mean box_empty?"),
        ("a.tar", "a.tar, repair: {box_empty: clip}", "repair.box_empty", '"drop_box" or "quar'),
        ("a.tar", "a.tar, repair: {bad_mask: drop}", "repair.bad_mask", "did you mean drop_box?"),
        ("a.tar", "a.tar, repair: {count_mismatch: clip}", "repair.count_mismatch", "legal keys: "),
        ("a.tar", "a.tar, repair: clip", "source.repair", "a mapping with the keys bad_mask, "),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_is_legal(
    written: Path, old: str, new: str, place: str, hint: str
) -> None:
    said = mistake(written, old, new)
    assert f"{place}:" in said
    assert hint in said
    assert ": 1 mistake\n" in said
    assert "line " in said


def test_the_same_list_of_legal_keys_is_said_once(written: Path) -> None:
    said = mistake(written, "seed: 3", "oops: 1\nsteps: 2")
    assert ": 2 mistakes\n" in said
    assert said.count("legal keys: ") == 1


def test_a_class_that_the_source_does_not_name_is_a_mistake(written: Path) -> None:
    written.write_text(written.read_text().replace("a.tar,", "a.tar, classes: [cell, dot],"))
    said = mistake(written, "model: denoiser,", "model: denoiser, classes: [dot, cel],")
    assert "ops[1].classes[1]: there is no class" in said
    assert "did you mean cell?" in said and "source.classes: cell, dot" in said


def test_any_class_may_be_named_where_the_source_names_none(written: Path) -> None:
    text = written.read_text().replace("model: denoiser,", "model: denoiser, classes: cell,")
    written.write_text(text)
    assert getattr(load_recipe(written).ops[1], "classes", None) == ("cell",)


def test_protected_objects_cannot_be_named_as_those_to_touch(written: Path) -> None:
    said = mistake(written, "model: denoiser,", "model: denoiser, protect: objects, classes: x,")
    assert "ops[1].classes:" in said and "leave one of the two out" in said


def test_policies_are_part_of_the_digest_and_the_default_is_quarantine(written: Path) -> None:
    text, digests = written.read_text(), []
    for repair in (
        "{}",
        "{box_empty: quarantine}",
        "{box_empty: drop_box}",
        "{bad_mask: drop_box}",
    ):
        written.write_text(text.replace("a.tar", f"a.tar, repair: {repair}"))
        digests.append(load_recipe(written).digest({}))
    written.write_text(text)
    assert digests[:2] == [load_recipe(written).digest({})] * 2
    assert len(set(digests)) == 3


def test_a_fault_that_gets_a_policy_one_day_changes_no_digest(written: Path) -> None:
    class More(RepairPolicies):
        box_too_thin: str = "quarantine"

    recipe = load_recipe(written)
    later = recipe.source.model_copy(update={"repair": More()})
    assert recipe.model_copy(update={"source": later}).digest({}) == recipe.digest({})


def test_storing_what_is_rejected_is_part_of_the_digest_and_dropping_it_is_not(
    written: Path,
) -> None:
    recipe = load_recipe(written)
    others = {"sink", "models", "resources", "tracking", "budget", "publish", "follow_deletions"}
    shape = recipe.model_dump(mode="json", exclude=others)
    shape["source"].pop("shards")
    shape["source"]["repair"] = {}
    del shape["output"]["rejected"]  # as it was before there was this setting
    before = digest_of({"recipe": shape, "models": {}, "schema": SCHEMA_VERSION})
    assert recipe.digest({}) == before
    output = recipe.output.model_copy(update={"rejected": "store"})
    assert recipe.model_copy(update={"output": output}).digest({}) != before


@pytest.mark.parametrize("words", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_subsampling_needs_no_quotes_though_yaml_counts_in_sixties(
    written: Path, words: str, quote: str
) -> None:
    text = f"output: {{format: jpeg, subsampling: {quote}{words}{quote}}}"
    written.write_text(written.read_text().replace("seed: 3", text))
    assert load_recipe(written).output.subsampling == words


def test_a_secret_is_not_repeated(written: Path) -> None:
    assert "hunter2" not in mistake(written, "a.tar", "'s3://me:hunter2@lab/a.tar'")


def test_all_mistakes_are_said_at_once_in_the_order_of_the_file(written: Path) -> None:
    text = written.read_text().replace("seed: 3", "copies: 0\nchunksize: 4").replace("psnr", "psn")
    written.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(written)
    said = str(caught.value)
    assert said.index("copies:") < said.index("chunksize:") < said.index("gates[0].psn:")
    assert "did you mean chunk_size?" in said


def test_a_hundred_mistakes_still_fit_on_a_screen(written: Path) -> None:
    ops = "\n".join("  - {kind: x, y: [" + "very long " * 50 + "]}" for _ in range(100))
    written.write_text(f"source: {{shards: a}}\nsink: b\nops:\n{ops}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(written)
    assert len(str(caught.value).splitlines()) <= 45
    assert "more" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("just words", "it must be a mapping"),
        ("[1, 2]", "it must be a mapping"),
        ("a: [1\nb: 2", "line 2, column 2"),
        ("a: 1\nb: {c: 2, c: 3}", "line 2: the key 'c' stands twice"),
        ("a: !!python/object/apply:os.system [ls]", "python/object/apply:os.system' is refused"),
        ("a: !thing x", "'!thing' is refused"),
        ("a: &x 1\nb: *x", "line 1: anchors and aliases are refused"),
        ("a: 2026-01-31", "'timestamp' is refused"),
        ("1.5: 2", "keys are plain text"),
        ("-1: 2", "keys are plain text"),
        ("010: 2", "keys are plain text"),
        ("yes: 2", "keys are plain text"),
        ("a: {1: x, '1': y}", "line 1: the key '1' stands twice"),
        ("? [a]\n: b", "keys are plain text"),
        ("a: 1\n---\nb: 2", "found another document"),
        ("a: \x00", "not YAML"),
        ("[" * 5000, "nested too deeply"),
        ("a: " + "x" * 300_000, "bytes; at most"),
    ],
)
def test_what_is_not_plain_yaml_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"gone\.yaml: there is no such file"):
        load_recipe(tmp_path / "gone.yaml")
    with pytest.raises(RecipeError, match="not a file"):
        load_recipe(tmp_path)


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(RecipeError, match="not UTF-8"):
        load_recipe(path)


def test_a_missing_model_folder_is_named_with_its_place(written: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        check_models(load_recipe(written))
    assert "models.denoiser: " in str(caught.value)
    assert "weights/x" in str(caught.value)


def test_reading_a_recipe_imports_neither_torch_nor_ray_nor_mlflow(written: Path) -> None:
    code = (
        "import sys; from pipeline.recipe import load_recipe; load_recipe(sys.argv[1]);"
        "print([name for name in ('torch', 'ray', 'mlflow', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(written)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


LIFT = """
    data: {shards: a.tar, segmentation: map.png, seg_classes: [ground, cell]}
    validation: {shards: b.tar, segmentation: map.png, seg_classes: [ground, cell]}
    out: out
    images: 4
    student: {kind: unet}
    baseline: real
    arms: {real: {}, other: {}}
"""


def test_a_lift_test_must_read_copies_as_it_reads_images(written: Path) -> None:
    lift = written.with_name("lift.yaml")
    lift.write_text(dedent(LIFT))
    publish = f"seed: 3\npublish: {{require: helping, lift: '{lift}'}}"
    digest = load_recipe(written).digest({})
    said = mistake(written, "seed: 3", publish)
    assert 'publish.lift: its data.segmentation is "map.png", and source.segmentation is' in said
    lift.write_text(dedent(LIFT).replace("map.png", "seg.png"))
    assert load_recipe(written).digest({}) == digest, "what publishing asks for shapes no pixel"
    said = mistake(written, "a.tar,", "a.tar, seg_classes: [ground, nucleus],")
    assert "data.seg_classes is " in said
    lift.write_text(dedent(LIFT).replace("images", "imags"))
    assert "did you mean images?" in mistake(written, "seed: 3", "seed: 4")
