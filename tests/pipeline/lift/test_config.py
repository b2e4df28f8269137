"""The configuration of a lift test: mistakes are named with their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.lift.config import LiftConfig
from schemas.errors import RecipeError

GOOD = """
data: {shards: train.tar, classes: [cell]}
validation: {shards: val.tar, classes: [cell]}
out: out
images: 4
student: {kind: fcos}
baseline: real
arms:
  real: {}
  classic: {transforms: [{HorizontalFlip: {p: 0.5}}]}
  pasted: {over: classic, ops: [{kind: copy_paste, harmonise: 0}], share: 0.3}
"""

SHIPPED = sorted((Path(__file__).parents[3] / "jobs" / "recipes" / "lift").glob("*.yaml"))


def read(folder: Path, text: str) -> LiftConfig:
    path = folder / "lift.yaml"
    path.write_text(text)
    return load_config(path, LiftConfig)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_lift_tests_are_lift_tests(path: Path) -> None:
    assert load_config(path, LiftConfig).seeds >= 5


def test_an_arm_over_another_has_its_transforms_and_a_single_share_stays(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD)
    assert config.transforms_of("pasted") == config.arms["classic"].transforms
    assert config.arms["pasted"].share == (0.3, 0.3)
    assert (config.task, config.metric, config.deciding) == ("detect", "mAP@[.5:.95]", ("cell",))


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("baseline: real", "baseline: rael", "baseline: 'rael' is none of the arms"),
        ("over: classic", "over: pasted", r"arms\.pasted\.over"),
        ("harmonise: 0", "model: denoiser", r"there is no model 'denoiser'"),
        ("share: 0.3", "share: 1.3", r"arms\.pasted\.share"),
        ("share: 0.3", "run: a-1", "a published run is named by both"),
        ("share: 0.3", "recipe: a.yaml", "one kind of copies"),
        ("kind: fcos", "kind: unet", "a segmenter needs `segmentation`"),
        ("kind: fcos", "kind: fcoz", "student"),
        ("images: 4", "images: 4\nscored: [sell]", "scored: 'sell' is none of 'cell'"),
        ("images: 4", "images: 4\nseeds: 1", "seeds"),
        ("HorizontalFlip", "HorizontalFlop", "HorizontalFlip"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        read(tmp_path, GOOD.replace(right, wrong))
