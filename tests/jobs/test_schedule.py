"""`noiseloom schedule`: where it writes, and what it refuses before it writes anything."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from jobs.cli.main import app
from jobs.cli.schedule import To
from jobs.schedule import Target, When, schedule
from jobs.scheduling.cloud import Cloud
from schemas.errors import RecipeError
from tests.jobs.scheduling.nights import cloud, recipe_file

NIGHTLY = When("0 2 * * *", "Europe/Berlin", "6h", 2)


def run(
    file: Path, target: Target, given: Cloud | None, out: Path | None, when: When = NIGHTLY
) -> str:
    said = io.StringIO()
    schedule(file, when, target, given, out, Console(file=said, width=400))
    return said.getvalue()


def test_the_command_line_offers_every_target_and_no_other() -> None:
    assert [to.value for to in To] == [target.value for target in Target]


def test_a_folder_gets_one_file_for_each_resource_and_the_command_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "deploy" / "nightly"
    said = run(recipe_file(tmp_path), Target.KUBERNETES, cloud(), out)
    listed = yaml.safe_load((out / "kustomization.yaml").read_text())["resources"]
    assert sorted(path.name for path in out.iterdir()) == sorted(["kustomization.yaml", *listed])
    assert f"next: kubectl apply -k {out}" in said
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    run(tmp_path / "cells.yaml", Target.KUBERNETES, cloud(), out)
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}


def test_without_a_folder_it_is_one_stream_that_kubectl_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(recipe_file(tmp_path), Target.KUBERAY, cloud(), None)
    kinds = [document["kind"] for document in yaml.safe_load_all(capsys.readouterr().out)]
    assert kinds == ["ConfigMap", "PodDisruptionBudget", "RayCronJob"]


def test_units_of_systemd_are_told_apart_on_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(recipe_file(tmp_path), Target.SYSTEMD, None, None)
    told = capsys.readouterr().out
    assert told.startswith("# noiseloom-cells.service\n[Unit]")
    assert "\n# noiseloom-cells.timer\n[Unit]" in told


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (When("0 2 * * *", "Europe/Berlim", "6h", 2), "did you mean Europe/Berlin"),
        (When("0 2 * * *", "/etc/passwd", "6h", 2), "there is no zone '/etc/passwd'"),
        (When("0 2 * * *", "UTC", "6", 2), "--deadline: '6' is no duration; write 90m, 6h or 1d"),
        (When("0 2 * *", "UTC", "6h", 2), "--cron: '0 2 \\* \\*' has 4 fields"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    tmp_path: Path, when: When, said: str
) -> None:
    out = tmp_path / "out"
    with pytest.raises(RecipeError, match=said) as refused:
        run(recipe_file(tmp_path), Target.KUBERNETES, cloud(), out, when)
    assert "\n" not in str(refused.value)
    assert not out.exists()


def test_what_only_a_cluster_has_is_refused_for_a_machine(tmp_path: Path) -> None:
    line = ["schedule", str(recipe_file(tmp_path)), "--cron", "0 2 * * *", "--to", "cron"]
    done = CliRunner().invoke(app, [*line, "--spot", "a=b"])
    assert done.exit_code == 2
    assert "--spot: for clusters" in done.output


def test_a_cluster_needs_an_image_and_a_machine_takes_none(tmp_path: Path) -> None:
    file = recipe_file(tmp_path)
    with pytest.raises(RecipeError, match="--to kuberay: needs --image"):
        run(file, Target.KUBERAY, None, None)
    with pytest.raises(RecipeError, match="--image is for clusters"):
        run(file, Target.CRON, cloud(), None)
