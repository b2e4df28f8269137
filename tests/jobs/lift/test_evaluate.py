"""`noiseloom evaluate` as a person starts it: a miniature with a real Ray and a real MLflow."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from jobs.lift.evaluate import dry_run, make_lift_plan
from pipeline.config import load_config
from pipeline.lift.config import LiftConfig
from pipeline.lift.evidence import Overlaps
from pipeline.lift.trial import Result
from pipeline.storage.store import Store
from schemas.errors import RunError, SourceError
from schemas.recipe import Tracking
from tests.jobs.mlflow_look import new_database, only_run
from tests.pipeline.lift.discs import write_discs

# MLflow's own tables, under an SQLAlchemy that is newer than they are
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

ROOT = Path(__file__).parents[3]
LIFT = """
data: {shards: train.tar, segmentation: seg.png, classes: [disc], seg_classes: [ground, disc]}
validation: {shards: val.tar, segmentation: seg.png, classes: [disc], seg_classes: [ground, disc]}
out: out
images: 3
seeds: 2
student: {kind: unet, widths: [4, 8]}
schooling: {steps: 3, batch: 2, crop: 16}
baseline: real
scored: [disc]
resamples: 100
arms:
  real: {}
  flipped: {ops: [{kind: classic, transforms: [{HorizontalFlip: {p: 1.0}}]}], copies: 1}
tracking: {uri: "sqlite:///m.db", experiment: lift}
"""


def write_lift(folder: Path, text: str = LIFT) -> Path:
    write_discs(folder / "train.tar", range(6))
    write_discs(folder / "val.tar", range(900, 903))
    (folder / "lift.yaml").write_text(text)
    return folder


def evaluate(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from jobs.cli.main import main; main()", "evaluate", "lift.yaml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "140"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@dataclass(frozen=True)
class Done:
    """A test that somebody had begun: `left` are the results that lay there."""

    folder: Path
    said: str
    left: dict[str, bytes]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = write_lift(tmp_path_factory.mktemp("lift"))
    new_database(folder / "m.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        planned = make_lift_plan(
            "lift.yaml", load_config("lift.yaml", LiftConfig), Console(file=io.StringIO())
        )
        trial = planned.trials[1]
    evidence = Overlaps(shared=((5, 1),) * 3, either=((9, 4),) * 3)
    result = Result(trial=trial, labelled=("d1",), augmented=3, loss=0.125, evidence=evidence)
    there = result.model_dump_json(indent=1).encode()
    Store(str(folder / "out")).create(trial.path, there)
    return Done(folder, evaluate(folder), {trial.path: there})


def test_a_lift_test_ends_with_a_table_a_plot_and_numbers(done: Done) -> None:
    for said in ("no leak: all 6 images of train.tar", "4 of 4: ", "no difference shown"):
        assert said in done.said
    (page,) = (done.folder / "out").glob("*/report.md")
    for said in ("| flipped |", "| real |", "baseline", "![differences](lift.png)", "train.tar"):
        assert said in page.read_text()
    Image.open(page.parent / "lift.png").load()
    record = json.loads((page.parent / "lift.json").read_bytes())
    assert [one["arm"] for one in record["arms"]] == ["real", "flipped"]
    assert record["arms"][1]["verdict"] == "no difference shown"


def test_mlflow_has_the_numbers_the_table_and_the_plot(done: Done) -> None:
    client, run = only_run(Tracking(uri=f"sqlite:///{done.folder}/m.db", experiment="lift"))
    assert {"score/real", "difference/flipped", "difference_low/flipped"} <= set(run.data.metrics)
    assert len(client.get_metric_history(run.info.run_id, "trial/real")) == 2
    assert run.data.params["baseline"] == "real"
    names = {one.path for one in client.list_artifacts(run.info.run_id)}
    assert {"lift.png", "report.md", "lift.yaml"} <= names
    assert run.info.status == "FINISHED"


def test_what_a_kill_left_is_not_done_again(done: Done) -> None:
    assert "3 of 4 trainings to do" in done.said
    for path, data in done.left.items():
        assert (done.folder / "out" / path).read_bytes() == data
    assert len(list((done.folder / "out" / "trials").iterdir())) == 4


def test_a_test_that_is_done_is_only_told_again(done: Done) -> None:
    (page,) = (done.folder / "out").glob("*/report.md")
    before = page.stat().st_mtime_ns
    said = evaluate(done.folder)
    assert "nothing to do" in said and "flipped" in said and "starting Ray" not in said
    assert page.stat().st_mtime_ns == before


def checked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(folder)
    said = io.StringIO()
    dry_run("lift.yaml", Console(file=said, width=150))
    return said.getvalue()


def test_a_dry_run_checks_and_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "4 of 4 trainings to do" in checked(write_lift(tmp_path), monkeypatch)
    assert not (tmp_path / "out").exists()


def test_a_validation_image_among_the_data_stops_the_test_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_discs(write_lift(tmp_path) / "val.tar", range(5, 9))
    with pytest.raises(RunError, match=r"leak: 1 images .*\n  d5 is d5 of train\.tar\n.*leave_out"):
        checked(tmp_path, monkeypatch)


def test_a_leak_that_is_left_out_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_discs(write_lift(tmp_path, LIFT + "leave_out: [d5]\n") / "val.tar", range(5, 9))
    assert "4 of 4" in checked(tmp_path, monkeypatch)
    (tmp_path / "lift.yaml").write_text(LIFT + "leave_out: [d77]\n")
    with pytest.raises(SourceError, match="leave_out: there is no validation image d77"):
        checked(tmp_path, monkeypatch)


WITH_MODEL = (
    LIFT.replace(
        "flipped: {ops: [{kind: classic, transforms: [{HorizontalFlip: {p: 1.0}}]}]",
        "woven: {ops: [{kind: noise_denoise, model: denoiser}]",
    )
    + "models: {denoiser: {native: denoiser}}\n"
)
CARD = """# made

## Configuration

```yaml
data: {{shards: {data}, segmentation: seg.png}}
validation: {{shards: val.tar, segmentation: seg.png}}
{more}
```
"""


@pytest.mark.parametrize(
    ("data", "more", "said"),
    [
        ("train.tar", "", "no leak: train.tar, which the model denoiser has seen: 6 images"),
        ("gone.tar", "", "not checked: gone.tar, which the model denoiser has seen"),
        ("val.tar", "", "leak: 3 images"),
        ("train.tar", "patience: 3", "leak: 3 images"),
    ],
)
def test_what_a_model_was_trained_on_is_held_against_the_validation_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, more: str, said: str
) -> None:
    from tests.models import tiny_denoiser

    tiny_denoiser(write_lift(tmp_path, WITH_MODEL) / "denoiser", classes=("disc",))
    (tmp_path / "denoiser" / "README.md").write_text(CARD.format(data=data, more=more))
    if said.startswith("leak"):
        with pytest.raises(RunError, match=said):
            checked(tmp_path, monkeypatch)
    else:
        assert said in checked(tmp_path, monkeypatch)
