"""Models against the ops and gates that use them: what does not fit is said before a start."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.model_check import check_models, digests
from pipeline.recipe import load_recipe
from schemas.errors import RecipeError
from tests.models import tiny_denoiser, tiny_upscaler

NOISE = "{kind: noise_denoise, model: denoiser}"
ENLARGE = "{kind: super_resolve, model: upscaler, scale: 2}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two native models."""
    folder = tmp_path_factory.mktemp("models")
    tiny_denoiser(folder / "denoiser", classes=("RBC", "WBC"), seg_classes=("ground", "cell"))
    tiny_upscaler(folder / "upscaler")
    return folder


def written(folder: Path, ops: str, source: str = "shards: a.tar") -> Path:
    path = folder / "recipe.yaml"
    names = ", ".join(f"{n}: {{native: '{folder / n}'}}" for n in ("denoiser", "upscaler"))
    path.write_text(f"source: {{{source}}}\nsink: out\nops: [{ops}]\nmodels: {{{names}}}\n")
    return path


def refusal(folder: Path, ops: str, source: str = "shards: a.tar") -> str:
    with pytest.raises(RecipeError) as caught:
        check_models(load_recipe(written(folder, ops, source)))
    return str(caught.value)


def test_models_that_fit_have_their_cards(folder: Path) -> None:
    cards = check_models(load_recipe(written(folder, f"{NOISE}, {ENLARGE}")))
    assert cards["denoiser"].does == {"denoise", "inpaint", "redraw", "synthesize"}
    assert cards["upscaler"].scales == {2, 4}
    assert set(digests(cards).values()) == {card.digest for card in cards.values()}


@pytest.mark.parametrize(
    ("op", "says"),
    [
        ("{kind: noise_denoise, model: upscaler}", "cannot denoise; it can upscale"),
        ("{kind: inpaint, model: upscaler, region: remove}", "cannot inpaint; it can upscale"),
        ("{kind: synthesize, model: upscaler}", "cannot synthesize; it can upscale"),
        ("{kind: restyle, model: upscaler}", "cannot denoise"),
        ("{kind: copy_paste, model: upscaler}", "cannot denoise"),
        ("{kind: super_resolve, model: denoiser}", "cannot upscale"),
    ],
)
def test_a_model_that_cannot_do_the_job_is_named_with_those_that_can(
    folder: Path, op: str, says: str
) -> None:
    said = refusal(folder, op)
    assert "ops[0].model: " in said
    assert says in said
    assert "models here that can: " + ("upscaler" if "super" in op else "denoiser") in said


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_a_prompt_for_a_model_that_takes_no_text_is_refused(folder: Path, field: str) -> None:
    said = refusal(folder, f"{{kind: noise_denoise, model: denoiser, {field}: cells}}")
    assert f"ops[0].{field}: " in said
    assert "takes no text" in said


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("classes: [RBC, Platelets]", "knows no class Platelets of source.classes"),
        (
            "segmentation: seg.png, seg_classes: [ground, road]",
            "knows no class road of source.seg_classes",
        ),
    ],
)
def test_classes_that_a_model_does_not_know_are_said_before_every_sample_fails(
    folder: Path, source: str, says: str
) -> None:
    said = refusal(folder, NOISE, f"shards: a.tar, {source}")
    assert says in said
    assert "it knows " in said


def test_every_mistake_is_said_at_once(folder: Path) -> None:
    ops = f"{{kind: noise_denoise, model: upscaler}}, {ENLARGE[:-1]}, prompt: x}}"
    said = refusal(folder, ops)
    assert "2 mistakes" in said


def test_the_upscaler_is_not_asked_for_classes(folder: Path) -> None:
    source = "shards: a.tar, classes: [Platelets]"
    check_models(load_recipe(written(folder, ENLARGE, source)))
