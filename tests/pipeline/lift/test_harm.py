"""Whole trials of a small student: harm is called harm, and the same data no difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.codec import encode_png
from pipeline.labels import labels_json
from pipeline.lift.config import LiftConfig
from pipeline.lift.subset import pool_of
from pipeline.lift.trial import Result, run_trial, trials
from pipeline.lift.verdict import Finding, judge
from pipeline.publication import publish
from pipeline.recipe import FullRecipe
from pipeline.sink import commit_chunk
from pipeline.source import plan, read_chunk
from pipeline.store import Store
from pipeline.weave import RunContext, weave_chunk
from schemas.errors import RunError
from tests.pipeline.lift.discs import disc_sample, source, write_discs

STILL = {"kind": "classic", "transforms": [{"HorizontalFlip": {"p": 0.0}}]}
SEEDS = 3


def publish_shuffled(train: Path, sink: Path) -> None:
    """A run whose images are those of the data, and whose labels are another image's."""
    recipe = FullRecipe.model_validate(
        {"source": source(train).model_dump(), "sink": str(sink), "ops": [STILL]}
    )
    (chunk,) = plan(recipe.source, 64, "d").chunks
    context = RunContext("shuffled-1", "d", chunk.id)
    woven = []
    for copy in weave_chunk(read_chunk(chunk, recipe.source), recipe, {}, context):
        wrong = disc_sample(int(copy.row.source_key[1:]), shuffled=True)
        assert wrong.class_map_hw is not None
        ids, labels = encode_png(wrong.class_map_hw), labels_json(wrong)
        woven.append((copy.row, copy.members | {"seg.png": ids, "json": labels}))
    commit_chunk(Store(str(sink)), "shuffled-1", chunk.id, woven, len(woven))
    publish(Store(str(sink)), "shuffled-1", [chunk.id])


def lift(folder: Path) -> LiftConfig:
    return LiftConfig.model_validate(
        {
            "data": source(folder / "train.tar").model_dump(),
            "validation": source(folder / "val.tar").model_dump(),
            "out": str(folder / "out"),
            "images": 4,
            "seeds": SEEDS,
            "student": {"kind": "unet", "widths": [8, 16], "tone": "linear"},
            "schooling": {"steps": 50, "batch": 4, "crop": 32, "lr": 0.01, "warmup": 5},
            "baseline": "real",
            "scored": ["disc"],
            "resamples": 200,
            "arms": {
                "real": {},
                "same": {"ops": [STILL], "copies": 1},
                "shuffled": {"sink": str(folder / "sink"), "run": "shuffled-1", "share": 0.9},
            },
        }
    )


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> LiftConfig:
    folder = tmp_path_factory.mktemp("lift")
    write_discs(folder / "train.tar", range(12))
    write_discs(folder / "val.tar", range(900, 910))
    publish_shuffled(folder / "train.tar", folder / "sink")
    return lift(folder)


@pytest.fixture(scope="module")
def results(config: LiftConfig) -> list[Result]:
    planned = trials(config, pool_of(config.data), pool_of(config.validation))
    return [run_trial(config, trial) for trial in planned]


@pytest.fixture(scope="module")
def findings(config: LiftConfig, results: list[Result]) -> dict[str, Finding]:
    answers = {
        arm: [one.evidence for one in results if one.trial.arm == arm] for arm in config.arms
    }
    found = judge(answers, "real", config.classes, config.deciding, config.resamples)
    return {one.arm: one for one in found}


def test_shuffled_labels_hurt(findings: dict[str, Finding]) -> None:
    assert findings["shuffled"].verdict == "hurts"


def test_copies_that_equal_the_real_images_show_no_difference(
    findings: dict[str, Finding],
) -> None:
    assert findings["same"].verdict == "no difference shown"
    assert findings["real"].mean > 0.5, "a student that knows nothing shows nothing"


def test_all_arms_of_a_seed_have_the_same_labelled_images(results: list[Result]) -> None:
    for seed in range(SEEDS):
        assert len({one.labelled for one in results if one.trial.seed == seed}) == 1
    assert len({one.labelled for one in results}) > 1


def test_a_trial_made_again_is_the_same(config: LiftConfig, results: list[Result]) -> None:
    assert run_trial(config, results[-1].trial) == results[-1]


def test_an_arm_that_shows_a_validation_image_is_stopped_by_name(
    config: LiftConfig, tmp_path: Path
) -> None:
    leaking = config.model_copy(
        update={"validation": source(write_discs(tmp_path / "val.tar", range(12)))}
    )
    planned = trials(leaking, pool_of(leaking.data), pool_of(leaking.validation))
    (trial,) = [one for one in planned if one.arm == "same" and one.seed == 0]
    with pytest.raises(RunError, match=r"leak: .*\n  d\d+ is d\d+-000 of what arm same made"):
        run_trial(leaking, trial)
