"""A recipe for other data is told before a run starts; one bad sample is not mistaken for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.run.plan import make_plan
from jobs.run.sample_check import LOOKED_AT, check_samples
from pipeline.codec import decode
from schemas.errors import RecipeError
from tests.jobs.cli.test_main import noiseloom
from tests.jobs.sinks import planned_run

Changed = Callable[[str, str], list[str]]


@pytest.fixture
def changed(tmp_path: Path) -> Changed:
    """The check of the recipe with one text in place of another, and without its bad sample."""

    def check(old: str, new: str) -> list[str]:
        file = planned_run(tmp_path).file
        (tmp_path / "train-0.tar").unlink()
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
        return check_samples(make_plan(file), decode)

    return check


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("classes: [cell]", "classes: [nucleus]", "these samples have cell"),
        ("seg.png", "mask.png", "missing_segmentation: no .mask.png"),
        ("segmentation: seg.png", "labels: txt", "missing_labels: no .txt"),
        ("classes: [cell]", "classes: [cell], seg_classes: [x]", "source.seg_classes lists"),
    ],
)
def test_a_recipe_for_other_data_is_a_mistake(
    changed: Changed, old: str, new: str, said: str
) -> None:
    with pytest.raises(RecipeError, match=r"cells\.yaml: source: does not fit") as caught:
        changed(old, new)
    assert said in str(caught.value)


def test_good_samples_are_not_spoken_of(changed: Changed) -> None:
    assert changed("seed: 3", "seed: 4") == []


def test_who_lets_all_copies_fail_is_not_stopped(changed: Changed) -> None:
    told = changed("[cell]}", "[nucleus]}\nbudget: {failed: 1}")
    assert told and all("unknown_class" in line for line in told)


def test_one_bad_sample_is_told_and_stops_nothing(tmp_path: Path) -> None:
    file = planned_run(tmp_path).file
    told = check_samples(make_plan(file), decode)
    assert 1 == len(told) < LOOKED_AT
    assert told[0].startswith("s00: unknown_format")
    done = noiseloom("run", "--dry-run", str(file), cwd=tmp_path)
    assert done.returncode == 0
    assert f"a sample that will fail: {told[0]}" in done.stderr


def test_a_run_decodes_nothing_before_its_workers_do(tmp_path: Path) -> None:
    """An image may take the process with it that decodes it: that must not be the driver."""
    assert check_samples(make_plan(planned_run(tmp_path).file)) == []  # of which one is no image


def test_a_run_with_a_recipe_for_other_data_starts_nothing(tmp_path: Path) -> None:
    file = planned_run(tmp_path).file
    file.write_text(file.read_text().replace("seg.png", "mask.png"))
    (tmp_path / "train-0.tar").unlink()
    done = noiseloom("run", str(file), cwd=tmp_path)
    assert done.returncode == 2
    assert "starting Ray" not in done.stderr
    assert len(done.stderr.splitlines()) < 6
    assert not (tmp_path / "out" / "runs").exists()
