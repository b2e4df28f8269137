"""Whole trials of a small student: the same again, and stopped where it would see its judges.

What harms and what does not is shown by tests/jobs/run/test_verdict.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.lift.config import LiftConfig
from pipeline.lift.subset import pool_of
from pipeline.lift.trial import Result, run_trial, trials
from schemas.errors import RunError
from tests.pipeline.lift.discs import source, write_discs

STILL = {"kind": "classic", "transforms": [{"HorizontalFlip": {"p": 0.0}}]}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> LiftConfig:
    folder = tmp_path_factory.mktemp("lift")
    write_discs(folder / "train.tar", range(12))
    write_discs(folder / "val.tar", range(900, 903))
    return LiftConfig.model_validate(
        {
            "data": source(folder / "train.tar").model_dump(),
            "validation": source(folder / "val.tar").model_dump(),
            "out": str(folder / "out"),
            "images": 4,
            "seeds": 2,
            "student": {"kind": "unet", "widths": [4, 8]},
            "schooling": {"steps": 4, "batch": 2, "crop": 16},
            "baseline": "real",
            "arms": {"real": {}, "same": {"ops": [STILL], "copies": 1}},
        }
    )


@pytest.fixture(scope="module")
def results(config: LiftConfig) -> list[Result]:
    planned = trials(config, pool_of(config.data), pool_of(config.validation))
    return [run_trial(config, trial) for trial in planned]


def test_all_arms_of_a_seed_have_the_same_labelled_images(results: list[Result]) -> None:
    for seed in range(2):
        assert len({one.labelled for one in results if one.trial.seed == seed}) == 1
    assert len({one.labelled for one in results}) == 2


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
