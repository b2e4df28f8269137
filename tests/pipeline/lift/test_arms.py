"""Copies are made of the labelled images, and of no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.chain.weave import RunContext, weave_chunk
from pipeline.lift.arms import augmented
from pipeline.lift.config import LiftConfig
from pipeline.lift.subset import Drawn, drawn, pool_of
from pipeline.lift.trial import trials
from pipeline.recipe import FullRecipe
from pipeline.sink.commit import commit_chunk
from pipeline.sink.publication import publish
from pipeline.source.plan import plan, read_chunk
from pipeline.storage.store import Store
from schemas.errors import RecipeError, RunError, SourceError
from tests.pipeline.lift.discs import source, write_discs

FLIP = {"kind": "classic", "transforms": [{"HorizontalFlip": {"p": 1.0}}]}
PASTE = {"kind": "copy_paste", "harmonise": 0}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("discs")
    write_discs(folder / "train.tar", range(12))
    write_discs(folder / "val.tar", range(900, 904))
    return folder


def config(shards: Path, out: Path, **arm: object) -> LiftConfig:
    return LiftConfig.model_validate(
        {
            "data": source(shards / "train.tar").model_dump(),
            "validation": source(shards / "val.tar").model_dump(),
            "out": str(out),
            "images": 3,
            "student": {"kind": "unet"},
            "baseline": "real",
            "arms": {"real": {}, "it": arm},
        }
    )


def labelled(config: LiftConfig, seed: int = 0) -> Drawn:
    return drawn(pool_of(config.data), config.images, seed)


def keys(drawn: Drawn) -> set[str]:
    return {sample.key for sample in drawn.samples}


def test_a_seed_draws_the_same_images_every_time_and_another_seed_others(
    shards: Path, tmp_path: Path
) -> None:
    one = config(shards, tmp_path, ops=[FLIP])
    assert keys(labelled(one)) == keys(labelled(one)) and len(keys(labelled(one))) == 3
    assert len({frozenset(keys(labelled(one, seed))) for seed in range(6)}) > 3


def test_more_images_than_there_are_is_an_error_that_says_how_many(
    shards: Path, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=r"20 are asked for, .* has 12"):
        drawn(pool_of(config(shards, tmp_path).data), 20, 0)


@pytest.mark.parametrize("op", [FLIP, PASTE])
def test_copies_come_from_the_labelled_images_alone(
    shards: Path, tmp_path: Path, op: dict[str, object]
) -> None:
    one = config(shards, tmp_path, ops=[op], copies=2)
    mine = labelled(one)
    made = augmented(one, "it", mine, 0, "cpu")
    assert {sample.key.rpartition("-")[0] for sample in made} == keys(mine)
    assert len(made) == 6


def test_copies_are_made_once_and_read_after_that(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = config(shards, tmp_path, ops=[FLIP], copies=1)
    first = augmented(one, "it", labelled(one), 0, "cpu")
    assert len(list((tmp_path / "woven").glob("*.tar"))) == 1
    monkeypatch.setattr("pipeline.lift.arms.weave_chunk", None)
    again = augmented(one, "it", labelled(one), 0, "cpu")
    assert [s.image_hwc.tobytes() for s in first] == [s.image_hwc.tobytes() for s in again]


def test_an_arm_that_keeps_no_copy_is_an_error_with_the_reason(
    shards: Path, tmp_path: Path
) -> None:
    gate = {"kind": "fidelity", "ssim": [0.2, 0.21]}
    one = config(
        shards, tmp_path, ops=[{"kind": "classic", "transforms": [{"Blur": {}}]}], gates=[gate]
    )
    with pytest.raises(RunError, match=r"arms\.it: not one copy was kept"):
        augmented(one, "it", labelled(one), 0, "cpu")


def published(shards: Path, sink: Path, op: dict[str, object]) -> None:
    """A run of all images, published by the real parts."""
    recipe = FullRecipe.model_validate(
        {"source": source(shards / "train.tar").model_dump(), "sink": str(sink), "ops": [op]}
    )
    store = Store(str(sink))
    (chunk,) = plan(recipe.source, 64, "d").chunks
    woven = weave_chunk(
        read_chunk(chunk, recipe.source), recipe, {}, RunContext("night-1", "d", chunk.id)
    )
    commit_chunk(
        store, "night-1", chunk.id, [(copy.row, copy.members) for copy in woven], len(woven)
    )
    publish(store, "night-1", [chunk.id])


def test_of_a_published_run_the_copies_of_the_labelled_images_are_taken(
    shards: Path, tmp_path: Path
) -> None:
    published(shards, tmp_path / "sink", FLIP)
    one = config(shards, tmp_path / "out", sink=str(tmp_path / "sink"), run="night-1")
    mine = labelled(one)
    made = augmented(one, "it", mine, 0, "cpu")
    assert {sample.key.rpartition("-")[0] for sample in made} == keys(mine)


def test_a_run_that_looked_at_other_images_is_refused(shards: Path, tmp_path: Path) -> None:
    published(shards, tmp_path / "sink", PASTE)
    one = config(shards, tmp_path / "out", sink=str(tmp_path / "sink"), run="night-1")
    with pytest.raises(RecipeError, match="copy_paste, which looks at images beyond"):
        augmented(one, "it", labelled(one), 0, "cpu")


def test_labelled_images_are_drawn_from_those_that_a_run_has_had(
    shards: Path, tmp_path: Path
) -> None:
    write_discs(tmp_path / "train.tar", range(5, 9))
    published(tmp_path, tmp_path / "sink", FLIP)
    one = config(shards, tmp_path / "out", sink=str(tmp_path / "sink"), run="night-1")
    planned = trials(one, pool_of(one.data), pool_of(one.validation))
    had = set(drawn(pool_of(source(tmp_path / "train.tar")), 4, 0).contents)
    assert len(planned) == 10 and all(set(trial.labelled) <= had for trial in planned)
    assert planned[0].labelled == planned[1].labelled != planned[2].labelled


def test_a_run_of_other_data_is_refused(shards: Path, tmp_path: Path) -> None:
    write_discs(tmp_path / "train.tar", range(40, 43))
    published(tmp_path, tmp_path / "sink", FLIP)
    one = config(shards, tmp_path / "out", sink=str(tmp_path / "sink"), run="night-1")
    with pytest.raises(SourceError, match=r"train\.tar has 0 that the tested run has"):
        ids(one)


def ids(config: LiftConfig) -> dict[str, list[str]]:
    found = trials(config, pool_of(config.data), pool_of(config.validation))
    return {arm: [trial.id for trial in found if trial.arm == arm] for arm in config.arms}


def test_another_arm_or_more_seeds_leave_the_trials_that_are_done(
    shards: Path, tmp_path: Path
) -> None:
    one = config(shards, tmp_path, ops=[FLIP])
    more = one.model_copy(update={"arms": one.arms | {"new": one.arms["it"]}, "seeds": 7})
    assert ids(more)["it"][:5] == ids(one)["it"] and ids(more)["real"][:5] == ids(one)["real"]


def test_what_shapes_a_trial_gives_it_another_name(shards: Path, tmp_path: Path) -> None:
    one = config(shards, tmp_path, ops=[FLIP])
    longer = one.model_copy(update={"schooling": one.schooling.model_copy(update={"steps": 9})})
    flipped = config(shards, tmp_path, ops=[FLIP], copies=2)
    assert not set(ids(one)["it"]) & set(ids(longer)["it"])
    assert not set(ids(one)["it"]) & set(ids(flipped)["it"])
    assert ids(flipped)["real"] == ids(one)["real"]


def test_a_seed_trains_its_own_denoiser_once_on_its_labelled_images(
    shards: Path, tmp_path: Path
) -> None:
    few = {"net": {"patch": 2, "widths": [16, 32], "blocks": 1}, "crop": 32, "batch": 4, "steps": 3}
    few["unlabelled"] = {"shards": str(shards / "train.tar")}
    redraw = {"kind": "noise_denoise", "model": "few", "strength": 0.3, "steps": 2}
    arms = {"real": {}, "it": {"ops": [redraw], "copies": 2}}
    one = config(shards, tmp_path).model_dump(mode="json") | {"arms": arms}
    test = LiftConfig.model_validate(one | {"denoisers": {"few": few}})
    made = augmented(test, "it", labelled(test), 0, "cpu")
    assert {sample.key.rpartition("-")[0] for sample in made} <= keys(labelled(test))
    folders = list((tmp_path / "denoisers").iterdir())
    assert len(folders) == 1
    weights = (folders[0] / "model.safetensors").read_bytes()
    other = LiftConfig.model_validate(
        one
        | {"denoisers": {"few": few}}
        | {"arms": {"real": {}, "it": {"ops": [redraw | {"strength": 0.4}]}}}
    )
    augmented(other, "it", labelled(other), 0, "cpu")
    assert list((tmp_path / "denoisers").iterdir()) == folders, "trained once for all arms"
    augmented(other, "it", labelled(other, 1), 1, "cpu")
    assert len(list((tmp_path / "denoisers").iterdir())) == 2, "and anew for other images"
    assert (folders[0] / "model.safetensors").read_bytes() == weights
    again = LiftConfig.model_validate_json(other.model_dump_json())
    assert again == other, "it travels to workers as JSON"


def test_a_denoiser_of_the_test_may_not_say_what_it_learns(shards: Path, tmp_path: Path) -> None:
    one = config(shards, tmp_path, ops=[FLIP]).model_dump(mode="json")
    with pytest.raises(ValueError, match=r"denoisers\.few\.data: is the test's"):
        LiftConfig.model_validate(one | {"denoisers": {"few": {"data": {"shards": "other.tar"}}}})
    with pytest.raises(ValueError, match="'few' is in both"):
        LiftConfig.model_validate(
            one | {"denoisers": {"few": {}}, "models": {"few": {"native": "x"}}}
        )
