"""Nights on one machine: a systemd timer and a crontab line."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from jobs.scheduling.crontab import render_cron
from jobs.scheduling.night import Night
from jobs.scheduling.systemd import Machine, render_systemd
from schemas.errors import RecipeError
from tests.jobs.scheduling.nights import night, recipe_file


@pytest.fixture
def cells(tmp_path: Path) -> Night:
    return night(recipe_file(tmp_path))


def machine(folder: Path, executable: str = "true") -> Machine:
    return Machine(folder, Path(shutil.which(executable) or executable), "daemon")


def test_systemd_takes_the_units(cells: Night, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here: nothing else reads units as systemd does")
    for name, text in render_systemd(cells, machine(tmp_path)).items():
        (tmp_path / name).write_text(text)
    command = ["systemd-analyze", "verify", str(tmp_path / "noiseloom-cells.timer")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_missed_night_is_made_up_for_and_a_service_has_its_limits(
    cells: Night, tmp_path: Path
) -> None:
    files = render_systemd(cells, machine(tmp_path))
    service, timer = files["noiseloom-cells.service"], files["noiseloom-cells.timer"]
    assert "OnCalendar=*-*-* 02:00:00 Europe/Berlin\nPersistent=true" in timer
    assert "Type=oneshot" in service and f"TimeoutStartSec={6 * 3600}\n" in service
    assert "StartLimitBurst=3\n" in service and "Restart=on-failure" in service
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=\n"):
        assert line in service


def test_the_starts_of_one_night_never_count_against_the_next(tmp_path: Path) -> None:
    mine = night(recipe_file(tmp_path), "0 */2 * * *")
    service = render_systemd(mine, machine(tmp_path))["noiseloom-cells.service"]
    (line,) = [line for line in service.splitlines() if line.startswith("StartLimitInterval")]
    assert int(line.partition("=")[2]) < mine.cron.shortest_gap_s()


def test_a_sink_elsewhere_may_be_written_to(tmp_path: Path) -> None:
    mine = night(recipe_file(tmp_path, "s3://lab/cells-woven", "/srv/woven"))
    service = render_systemd(mine, machine(tmp_path / "work"))["noiseloom-cells.service"]
    assert f'ReadWritePaths="{tmp_path}/work" "/srv/woven"\n' in service


def test_odd_names_survive_systemd(tmp_path: Path) -> None:
    folder = tmp_path / '50% "off" $HOME'
    folder.mkdir()
    mine = night(recipe_file(folder, name="cells v2.yaml"))
    files = render_systemd(mine, machine(folder))
    service = files[f"{mine.name}.service"]
    assert '50%% \\"off\\" $$HOME/cells v2.yaml"' in service


def shell_of(crontab: str) -> str:
    """The command as cron hands it to the shell: five fields off, `\\%` made `%`."""
    (line,) = [line for line in crontab.splitlines() if line[0] not in "#C"]
    return line.split(maxsplit=5)[5].replace(r"\%", "%")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `logger` that writes to a file, a `sleep` that does not, and a noiseloom that counts."""
    folder = tmp_path / "tools"
    folder.mkdir()
    scripts = {
        "logger": f'cat >> "{folder}/log"',
        "sleep": ":",
        "noiseloom": f'echo run "$2" >> "{folder}/runs"; exit $(cat "{folder}/code")',
    }
    for name, body in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    (folder / "log").write_text("")
    (folder / "runs").write_text("")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.mark.parametrize(("code", "runs"), [(0, 1), (4, 3), (2, 1), (143, 1)])
def test_a_crontab_line_tries_again_what_may_go_well_and_nothing_else(
    tmp_path: Path, tools: Path, code: int, runs: int
) -> None:
    (tools / "code").write_text(str(code))
    folder = tmp_path / "100% 'mine'"
    folder.mkdir()
    mine = night(recipe_file(folder))
    text = render_cron(mine, Machine(folder, tools / "noiseloom", "nobody"))
    crontab = text["noiseloom-cells.crontab"]
    assert "\nCRON_TZ=Europe/Berlin\n0 2 * * * " in crontab
    subprocess.run(["/bin/sh", "-c", shell_of(crontab)], check=True, cwd="/")
    assert (tools / "runs").read_text() == f"run {folder}/cells.yaml\n" * runs
    assert ("failed" in (tools / "log").read_text()) == (code != 0)


def test_a_crontab_line_starts_nothing_while_the_night_before_runs(
    tmp_path: Path, tools: Path, cells: Night
) -> None:
    (tools / "code").write_text("0")
    text = render_cron(cells, Machine(tmp_path, tools / "noiseloom", "nobody"))
    line = shell_of(text["noiseloom-cells.crontab"])
    held = ["flock", str(tmp_path / ".noiseloom-cells.lock"), "/bin/sh", "-c", line]
    subprocess.run(held, check=True)
    assert (tools / "runs").read_text() == ""
    assert "the night before still runs" in (tools / "log").read_text()


def test_a_line_longer_than_cron_takes_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 250) / ("y" * 250) / ("z" * 250)
    folder.mkdir(parents=True)
    with pytest.raises(RecipeError, match="cron takes 990; use shorter paths, or --to systemd"):
        render_cron(night(recipe_file(folder)), machine(folder))


def test_rendering_twice_gives_the_same_bytes(cells: Night, tmp_path: Path) -> None:
    for render in (render_systemd, render_cron):
        assert render(cells, machine(tmp_path)) == render(cells, machine(tmp_path))
