"""`noiseloom train` as a person starts it: a real Ray Train, a real SIGKILL, a model that loads."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.diffusion.native import load_native
from pipeline.models import describe
from schemas.recipe import NativeModel

ROOT = Path(__file__).parents[2]
DATA = ROOT / "data" / "nuclei" / "train-000000.tar"

CONFIG = f"""
data:
  shards: {DATA}
  segmentation: seg.png
  classes: [nucleus]
  seg_classes: [background, nucleus]
out: nuclei/denoiser
licence: CC0
net: {{patch: 2, widths: [16, 32], blocks: 1}}
crop: 32
batch: 4
steps: 30
warmup: 5
precision: fp32
checkpoint_every: 10
tracking: {{uri: "sqlite:///mlflow.db", experiment: tests}}
"""


def start(folder: Path, config: str = CONFIG) -> subprocess.Popen[str]:
    (folder / "train.yaml").write_text(config)
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from jobs.cli import main; main()",
            "train",
            "denoiser",
            "train.yaml",
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, finish(start(folder))


def test_a_training_leaves_a_model_folder_that_loads_and_says_what_it_is(
    undisturbed: tuple[Path, str],
) -> None:
    folder, said = undisturbed
    out = folder / "nuclei" / "denoiser"
    spec = NativeModel(native=str(out))
    assert describe(spec).classes == ("nucleus",)
    assert load_native(spec, describe(spec).digest, "cpu").does == {"denoise"}
    card = (out / "README.md").read_text()
    for fact in (str(DATA), "CC0", "30 of 4 crops of 32x32", "samples.png", "Training loss"):
        assert fact in card
    assert (out / "samples.png").read_bytes().startswith(b"\x89PNG")
    assert "Traceback" not in said
    assert "(RayTrainWorker" not in said


def test_losses_and_pictures_are_in_mlflow(undisturbed: tuple[Path, str]) -> None:
    folder, _ = undisturbed
    with sqlite3.connect(folder / "mlflow.db") as store:
        steps = store.execute(
            "select step from metrics where key = 'loss' order by step"
        ).fetchall()
        (artifacts,) = store.execute("select artifact_uri from runs").fetchone()
    assert [step for (step,) in steps] == [10, 20, 30]
    pictures = sorted(Path(artifacts.removeprefix("file://")).glob("samples/*.png"))
    assert [picture.name for picture in pictures] == ["000010.png", "000020.png", "000030.png"]


def test_a_training_killed_in_the_middle_ends_with_the_same_weights(
    undisturbed: tuple[Path, str], tmp_path: Path
) -> None:
    process = start(tmp_path)
    checkpoints = tmp_path / "nuclei" / "denoiser" / ".training"
    while not list(checkpoints.glob("*/checkpoint_*/*.safetensors")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    weights = Path("nuclei") / "denoiser" / "model.safetensors"
    assert not (tmp_path / weights).exists(), "killed too late to test anything"
    finish(start(tmp_path))
    assert (tmp_path / weights).read_bytes() == (undisturbed[0] / weights).read_bytes()


def test_a_mistake_in_the_configuration_is_said_in_one_screen(tmp_path: Path) -> None:
    process = start(tmp_path, CONFIG.replace("steps: 30", "stepps: 30"))
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 2
    assert "stepps" in said and "steps" in said
    assert "Traceback" not in said and len(said.splitlines()) < 12


def test_a_missing_shard_is_named_before_anything_starts(tmp_path: Path) -> None:
    process = start(tmp_path, CONFIG.replace(str(DATA), "nothing-{000..003}.tar"))
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 2
    assert "nothing-" in said and "Traceback" not in said
