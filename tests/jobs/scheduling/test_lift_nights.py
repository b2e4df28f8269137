"""A night takes along the lift test that it publishes by, and what cannot come is refused by name.

One night is run as far as it goes without Ray: rendered, mounted as a pod would have it, its chunks
woven and its students trained here; what is left, the verdict and the publishing, is the real run.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from jobs.cli.main import app
from jobs.history import nights
from jobs.lift.evaluate import make_lift_plan
from jobs.lift.files import lift_test_of
from jobs.run.augment import augment
from jobs.run.plan import RunPlan, make_plan
from jobs.run.verdict import lift_test
from jobs.schedule import Target, When, schedule
from jobs.scheduling import manifests
from jobs.scheduling.crontab import render_cron
from jobs.scheduling.kuberay import render_kuberay
from jobs.scheduling.kubernetes import render_kubernetes
from jobs.scheduling.systemd import Machine, render_systemd
from jobs.travel import shipped_recipe
from pipeline import config
from pipeline.lift.trial import run_trial
from pipeline.recipe import load_recipe
from pipeline.storage.store import Store
from schemas.errors import RecipeError
from tests.jobs.scheduling.lift_recipes import LIFT, PAINTED, in_pod, job_of, write
from tests.jobs.scheduling.nights import REVISION, cloud, night
from tests.jobs.scheduling.test_clusters import manifests as manifests_of
from tests.jobs.sinks import weave
from tests.kubernetes.pods import broken_rules, containers, pods
from tests.kubernetes.schemas import problems
from tests.pipeline.lift.discs import write_discs
from tests.s3.server import FOREIGN, S3

Render = Callable[..., dict[str, str]]
TARGETS = [render_kubernetes, render_kuberay]
SILENT = Console(file=io.StringIO())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("render", TARGETS)
def test_the_lift_test_its_arms_recipes_and_their_prompts_are_in_the_folder_of_the_night(
    here: Path, render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = night(write(here))
    folder = in_pod(render(mine, cloud()), here / "pod")
    for path in ("cells.yaml", "lift/test.yaml", *map(str, Path("lift/arms").iterdir())):
        assert (folder / path).read_text() == (here / path).read_text()
    test = lift_test_of(mine.recipe)
    monkeypatch.chdir(folder)
    there = load_recipe("cells.yaml")
    assert there == mine.recipe
    assert lift_test_of(there) == test
    load_recipe("lift/arms/painted.yaml")  # with its file of prompts, whose name no key could have
    assert job_of(render(mine, cloud()))["entrypoint"] == "noiseloom run cells.yaml"


@pytest.mark.parametrize("render", TARGETS)
def test_every_manifest_is_taken_and_is_the_same_twice(here: Path, render: Render) -> None:
    file = write(here)
    files = render(night(file), cloud(secrets=("stores",)))
    for name, manifest in manifests_of(files).items():
        assert problems(manifest) == [], name
        assert broken_rules(manifest) == [], name
    assert files == render(night(file), cloud(secrets=("stores",)))


def test_a_prompt_that_is_changed_is_another_config_map_and_another_night(here: Path) -> None:
    file = write(here)
    before = render_kubernetes(night(file), cloud())
    (here / "lift/zellen ä.txt").write_text("red cells\n")
    after = render_kubernetes(night(file), cloud())
    names = [yaml.safe_load(files["recipe.yaml"])["metadata"]["name"] for files in (before, after)]
    assert names[0] != names[1]
    assert names[1] in after["rayjob.yaml"]


def test_models_of_the_baseline_are_fetched_and_mounted_and_those_of_other_arms_are_not(
    here: Path,
) -> None:
    head = job_of(render_kubernetes(night(write(here)), cloud()))["rayClusterSpec"]["headGroupSpec"]
    assert "initContainers" not in head["template"]["spec"]
    model = f"models: {{m: {{diffusers: lab/turbo, revision: {REVISION}}}}}"
    painted = PAINTED.replace("models: {m: {native: out/never}}", model)
    (here / "lift/arms/painted.yaml").write_text(painted.replace("BUCKET", "s3://lab"))
    test = LIFT.replace("baseline: flipped", "baseline: painted").replace("BUCKET", "s3://lab")
    (here / "lift/test.yaml").write_text(test)
    cluster = job_of(render_kubernetes(night(Path("cells.yaml")), cloud()))["rayClusterSpec"]
    (fetcher,) = cluster["headGroupSpec"]["template"]["spec"]["initContainers"]
    mounts = {one["name"]: one["mountPath"] for one in fetcher["volumeMounts"]}
    assert fetcher["command"] == ["noiseloom", "models", "fetch", "cells.yaml"]
    assert fetcher["workingDir"] == mounts["recipe"]
    for pod in pods(cluster):
        assert all("/models" in str(one["volumeMounts"]) for one in containers(pod))


@pytest.mark.parametrize(
    ("part", "old", "new", "said"),
    [
        ("test", "BUCKET/val", "data/val", r"lift/test.yaml: validation.shards\[0\]: data/val.tar"),
        ("test", "BUCKET/lift", "out/lift", r"lift/test.yaml: out: out/lift is on this machine"),
        ("test", "uri: null", "uri: mlruns", r"lift/test.yaml: tracking.uri: mlruns is a file"),
        ("test", "student:", "gpus: 1\nstudent:", r"lift/test.yaml: gpus: 1 .* take gpus: 0"),
        (
            "test",
            "baseline: flipped",
            "baseline: painted",
            "lift/arms/painted.yaml: models.m: out/never is on this machine; put it on the volume",
        ),
        (
            "test",
            "flipped: {recipe: lift/arms/flipped.yaml}",
            "flipped: {sink: out/woven, run: cells-1}",
            r"lift/test.yaml: arms.flipped.sink: out/woven is on this machine",
        ),
        (
            "test",
            "lift/arms/painted.yaml",
            "ABSOLUTE/lift/arms/painted.yaml",
            "publish.lift: .*painted.yaml cannot travel; name it by a path below this folder",
        ),
        (
            "test",
            "tracking:",
            "denoisers: {few: {steps: 9, init: out/unlabelled}}\ntracking:",
            "lift/test.yaml: models.few: out/unlabelled is on this machine",
        ),
        (
            "test",
            "tracking:",
            "denoisers: {few: {unlabelled: {shards: 'data/*.tar'}}}\ntracking:",
            r"lift/test.yaml: denoisers.few.unlabelled.shards\[0\]: data/\*.tar is on this machine",
        ),
    ],
)
def test_what_cannot_travel_is_refused_with_its_place_in_one_line(
    here: Path, part: str, old: str, new: str, said: str
) -> None:
    texts = {"test": LIFT}
    assert old in texts[part]
    file = write(here, **{part: texts[part].replace(old, new.replace("ABSOLUTE", str(here)))})
    for render in TARGETS:
        with pytest.raises(RecipeError, match=said) as refused:
            render(night(file), cloud())
        assert "\n" not in str(refused.value)


def test_a_lift_test_with_the_recipes_own_name_is_refused(here: Path) -> None:
    text = write(here).read_text().replace("lift/test.yaml", "cells.yaml")
    (here / "lift/test.yaml").replace(here / "cells.yaml")
    (here / "lift/cells.yaml").write_text(text)
    (here / "lift/arms/flipped.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"cells\.yaml has the name that the recipe has"):
        render_kubernetes(night(Path("lift/cells.yaml")), cloud())


def test_more_than_a_config_map_holds_is_refused_with_what_is_largest(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(here)
    (here / "lift/zellen ä.txt").write_text("cells of blood\n" * 2000)
    monkeypatch.setattr(manifests, "LIMIT", 40_000)
    render_kubernetes(night(file), cloud())
    monkeypatch.setattr(manifests, "LIMIT", 30_000)
    with pytest.raises(RecipeError, match=r"a ConfigMap holds 29: lift/zellen ä.txt \(29 KiB\)"):
        render_kubernetes(night(file), cloud())


def test_prompts_that_nobody_could_read_back_are_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "MAX_VALUES", 100)
    (here / "prompts.txt").write_text("".join(f"cell {n}\n" for n in range(60)))
    text = PAINTED.replace("lift/zellen ä.txt", "prompts.txt").replace("out/never", "s3://lab/w")
    (here / "cells.yaml").write_text(text.replace("BUCKET", "s3://lab"))
    with pytest.raises(RecipeError, match=r"prompts put in: .*more than 100 values.*fewer"):
        shipped_recipe(Path("cells.yaml"), load_recipe("cells.yaml"))


def test_on_one_machine_nothing_travels_and_the_results_may_be_written(here: Path) -> None:
    """The recipe is run where it lies, so that its lift test and all that it names are there."""
    mine = night(write(here, test=LIFT.replace("BUCKET/lift", "/srv/lift")))
    machine = Machine(here, Path("/usr/bin/noiseloom"), "daemon")
    service = render_systemd(mine, machine)["noiseloom-cells.service"]
    assert f"WorkingDirectory={here}\n" in service
    assert f'ReadWritePaths="{here}" "/srv/lift"\n' in service
    assert f"cd {here} && " in render_cron(mine, machine)["noiseloom-cells.crontab"]


def test_a_folder_that_is_large_is_applied_by_the_server(here: Path) -> None:
    """`kubectl apply` by itself writes what it applied into an annotation, of 256 KiB at most."""
    file, said = write(here), io.StringIO()
    when, console = When("0 2 * * *", "UTC", "6h", 2), Console(file=said, width=400)
    schedule(file, when, Target.KUBERNETES, cloud(), here / "deploy", console)
    assert "next: kubectl apply -k " in said.getvalue()
    (here / "lift/zellen ä.txt").write_text("cells of blood\n" * 15_000)
    schedule(file, when, Target.KUBERNETES, cloud(), here / "deploy", console)
    assert "next: kubectl apply --server-side -k " in said.getvalue()


@pytest.fixture
def bucket(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return s3_server.bucket()


def trained(planned: RunPlan) -> None:
    test = lift_test(planned)
    assert test is not None
    lift = make_lift_plan("lift/test.yaml", test, SILENT)
    assert {trial.arm for trial in lift.trials} == {"flipped", "run"}
    for trial in lift.trials:
        result = run_trial(lift.config, trial).model_dump_json(indent=1).encode()
        lift.store.create(trial.path, result)


def test_a_night_on_kubernetes_finds_its_lift_test_and_history_lists_the_verdict(
    here: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, numbers in {"train": range(8), "val": range(900, 905)}.items():
        Store(bucket).create(f"{name}.tar", write_discs(here / "made.tar", numbers).read_bytes())
    folder = in_pod(render_kubernetes(night(write(here, bucket)), cloud()), here / "pod")
    monkeypatch.chdir(folder)
    there = sorted(folder.rglob("*"))
    done = CliRunner().invoke(app, ["run", "cells.yaml", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "only if not_hurting, by lift/test.yaml" in done.output
    planned = make_plan("cells.yaml")
    weave(planned)
    trained(planned)
    augment(planned.file, SILENT)
    (one,) = nights(planned.store)
    assert (one.state, one.run) == ("finished", planned.run)
    assert one.verdict in ("helps", "no difference shown")
    assert sorted(folder.rglob("*")) == there  # a pod could not write there
