"""A run is published on the verdict of a lift test of its own copies, and on no other.

Whole trainings of a small student, but no Ray: the chunks are woven and the students trained here,
as a run and `noiseloom evaluate` do it, and the run is started where only the rest is left.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from jobs.gc import gc
from jobs.lift.evaluate import make_lift_plan
from jobs.run.augment import augment
from jobs.run.plan import RunPlan, make_plan, write_plan
from jobs.run.verdict import check_not_refused, lift_test
from jobs.show import show
from pipeline.codec import encode_png
from pipeline.index.files import pending_runs, published_runs
from pipeline.labels.files import labels_json
from pipeline.lift.trial import run_trial
from pipeline.sink.commit import commit_chunk
from schemas.errors import RunError
from schemas.recipe import Tracking
from tests.jobs.mlflow_look import new_database, only_run
from tests.jobs.sinks import woven_chunks
from tests.models import tiny_denoiser
from tests.pipeline.lift.discs import disc_sample, write_discs

# MLflow's own tables, under an SQLAlchemy that is newer than they are
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

LAYOUT = "segmentation: seg.png, classes: [disc], seg_classes: [ground, disc]"
LIFT = f"""
data: {{shards: train.tar, {LAYOUT}}}
validation: {{shards: val.tar, {LAYOUT}}}
out: lift
images: 4
seeds: 3
student: {{kind: unet, widths: [8, 16], tone: linear}}
schooling: {{steps: 50, batch: 4, crop: 32, lr: 0.01, warmup: 5}}
baseline: real
scored: [disc]
resamples: 200
arms: {{real: {{share: 0.9}}, other: {{}}}}
tracking: {{uri: null}}
"""
RECIPE = f"""
source: {{shards: train.tar, {LAYOUT}}}
sink: NAME
ops: [OP]
models: {{denoiser: {{native: denoiser}}}}
publish: {{require: not_hurting, lift: lift.yaml}}
tracking: {{uri: null}}
"""
STILL = "{kind: classic, transforms: [{HorizontalFlip: {p: 0.0}}]}"
UNCONDITIONED = "{kind: noise_denoise, model: denoiser, strength: 1.0, guidance: 0, steps: 2}"
SILENT = Console(file=io.StringIO())


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verdicts")
    write_discs(folder / "train.tar", range(12))
    write_discs(folder / "val.tar", range(900, 910))
    tiny_denoiser(folder / "denoiser", classes=("disc",), seg_classes=("ground", "disc"))
    (folder / "lift.yaml").write_text(LIFT)
    return folder


@pytest.fixture(autouse=True)
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def woven(name: str, op: str, wrong: bool = False) -> RunPlan:
    """A run with all its chunks committed. `wrong`: its labels are those of other images."""
    Path(f"{name}.yaml").write_text(RECIPE.replace("NAME", name).replace("OP", op))
    planned = make_plan(f"{name}.yaml")
    write_plan(planned)
    for chunk, copies, attempted in woven_chunks(planned):
        rows = [
            (row, members | _another(row.source_key) if wrong and members else members)
            for row, members in copies
        ]
        commit_chunk(planned.store, planned.run, chunk, rows, attempted)
    return planned


def _another(key: str) -> dict[str, bytes]:
    sample = disc_sample(int(key[1:]), shuffled=True)
    assert sample.class_map_hw is not None
    return {"seg.png": encode_png(sample.class_map_hw), "json": labels_json(sample)}


def trained(planned: RunPlan) -> None:
    """The students of its lift test, as far as they are not there."""
    test = lift_test(planned)
    assert test is not None
    lift = make_lift_plan("lift.yaml", test, SILENT)
    for trial in lift.trials:
        if not lift.store.exists(trial.path):
            result = run_trial(lift.config, trial).model_dump_json(indent=1).encode()
            lift.store.create(trial.path, result)


@dataclass(frozen=True)
class Ended:
    """A run, and what was said at its end: the error, where it was one."""

    planned: RunPlan
    error: str = ""


def ended(planned: RunPlan) -> Ended:
    try:
        augment(planned.file, SILENT)
    except RunError as error:
        return Ended(planned, str(error))
    return Ended(planned)


@pytest.fixture(scope="module")
def shuffled(folder: Path) -> Ended:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        planned = woven("shuffled", STILL, wrong=True)
        new_database(folder / "m.db")
        text = planned.file.read_text().replace("uri: null", "uri: 'sqlite:///m.db'")
        planned.file.write_text(text)
        trained(planned)
        return ended(planned)


def test_shuffled_labels_hurt_and_are_not_published(shuffled: Ended) -> None:
    run, store = shuffled.planned.run, shuffled.planned.store
    assert shuffled.error.startswith(f"{run}: not published: hurts, -")
    assert "points of mIoU against real; publish.require is not_hurting" in shuffled.error
    assert published_runs(store) == [] and pending_runs(store) == [run]


def test_pictures_from_nothing_hurt_and_are_not_published() -> None:
    """Strength 1, and a denoiser that is told no label."""
    planned = woven("unconditioned", UNCONDITIONED)
    trained(planned)
    assert "not published: hurts, -" in ended(planned).error
    assert published_runs(planned.store) == []


def test_copies_that_are_the_images_show_no_difference_and_are_published_where_that_is_enough() -> (
    None
):
    planned = woven("same", STILL)
    trained(planned)
    text = planned.file.read_text()
    planned.file.write_text(text.replace("not_hurting", "helping"))
    assert "not published: no difference shown, " in ended(planned).error
    planned.file.write_text(text)
    assert ended(planned).error == ""
    assert published_runs(planned.store) == [planned.run]
    record = json.loads(Path(f"same/runs/{planned.run}.json").read_bytes())
    assert record["verdict"]["verdict"] == "no difference shown"
    (page,) = [Path(record["verdict"]["report"])]
    assert "| run |" in page.read_text() and "| real |" in page.read_text()


def test_a_refused_run_says_so_at_once_until_its_test_is_another(shuffled: Ended) -> None:
    Path("lift").rename("away")  # whoever tests again finds nothing there, and starts Ray
    assert ended(shuffled.planned).error == shuffled.error
    Path("away").rename("lift")
    text = Path("lift.yaml").read_text()
    Path("lift.yaml").write_text(text.replace("resamples: 200", "resamples: 300"))
    check_not_refused(shuffled.planned)
    Path("lift.yaml").write_text(text)


def test_mlflow_and_the_history_of_a_sample_have_the_verdict(shuffled: Ended) -> None:
    _, run = only_run(Tracking(uri="sqlite:///m.db"))
    assert run.data.tags["noiseloom.verdict"] == "hurts"
    assert run.data.tags["noiseloom.verdict_says"] in shuffled.error
    said = io.StringIO()
    show("shuffled", "d3", Console(file=said, width=200))
    assert "hurts, -" in said.getvalue()


def test_the_copies_of_a_refused_run_go_when_it_is_given_up_and_its_verdict_stays(
    shuffled: Ended,
) -> None:
    gc("shuffled", shuffled.planned.run, SILENT)
    assert list(Path("shuffled").glob("shards/*")) == []
    assert ended(shuffled.planned).error == shuffled.error


def test_a_run_whose_ops_look_at_other_images_is_tested_by_its_recipe(folder: Path) -> None:
    text = RECIPE.replace("NAME", "pasted").replace("OP", "{kind: copy_paste, harmonise: 0}")
    Path("pasted.yaml").write_text(text)
    test = lift_test(make_plan("pasted.yaml"))
    assert test is not None and test.arms["run"].recipe == "pasted.yaml"
