"""`noiseloom train` as a person starts it: a real Ray Train, a real SIGKILL, two real workers, a
model that loads.
"""

from __future__ import annotations

import io
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from jobs.training.train import dry_run
from pipeline.diffusion.native import load_native
from pipeline.model import Painter
from pipeline.models import describe
from schemas.errors import ModelError, RecipeError, SourceError
from schemas.models import NativeModel
from tests.pipeline.shards import sample_files, tar_of

ROOT = Path(__file__).parents[3]
DATA = ROOT / "data" / "nuclei" / "train-000000.tar"

CONFIG = f"""
data:
  shards: {DATA}
  segmentation: seg.png
  classes: [nucleus]
  seg_classes: [background, nucleus]
validation:
  shards: {ROOT / "data" / "nuclei" / "val-000000.tar"}
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
patience: 5
tracking: {{uri: "sqlite:///mlflow.db", experiment: tests}}
"""


def start(folder: Path, config: str = CONFIG) -> subprocess.Popen[str]:
    (folder / "train.yaml").write_text(config)
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from jobs.cli.main import main; main()",
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
    assert describe(spec).does == {"denoise", "inpaint", "redraw", "synthesize", "fit"}
    assert isinstance(load_native(spec, describe(spec).digest, "cpu"), Painter)
    card = (out / "README.md").read_text()
    facts = (str(DATA), "CC0", "30 of 4 crops of 32x32", "samples.png", "Training loss", "fp32")
    for fact in (*facts, "the best validation loss", "| t | 0 to 0.125 |"):
        assert fact in card
    assert re.search(r"about \d+ s for 30 steps of \d+\.\d\d s \(measured, fp32\)", said)
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
        (levels,) = store.execute(
            "select count(distinct key) from metrics where key like 'val/t%'"
        ).fetchone()
    assert [step for (step,) in steps] == [10, 20, 30]
    assert levels == 8
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


def checkpoint(folder: Path) -> dict[str, torch.Tensor]:
    """The last one of a training in this folder."""
    found = sorted(
        (folder / "nuclei" / "denoiser" / ".training").glob("*/checkpoint_*/*.safetensors")
    )
    return load_file(found[-1])


def test_two_workers_end_with_the_weights_of_one(
    undisturbed: tuple[Path, str], tmp_path: Path
) -> None:
    finish(start(tmp_path, CONFIG + "workers: 2\n"))
    one, two = checkpoint(undisturbed[0]), checkpoint(tmp_path)
    assert one.keys() == two.keys()
    kernels = [name for name in one if name.startswith("average/") and one[name].ndim == 4]
    everything = [name for name in one if name.startswith("average/")]
    assert 0 < difference(one, two, kernels) < 5e-5, "relative, after 30 steps; measured: 3e-6"
    # Adam divides a gradient by its size, and so moves a bias before a normalisation, whose
    # gradient is 0 but for rounding; what the network makes does not notice
    assert difference(one, two, everything) < 1e-3


def difference(
    one: dict[str, torch.Tensor], two: dict[str, torch.Tensor], names: list[str]
) -> float:
    a, b = (torch.cat([tensors[name].flatten() for name in names]) for tensors in (one, two))
    return float((a - b).norm() / a.norm())


def test_a_training_that_only_gets_worse_stops_early_with_its_best_weights(tmp_path: Path) -> None:
    worse = CONFIG.replace("patience: 5", "patience: 1").replace("warmup: 5", "warmup: 0\nlr: 0.1")
    said = finish(start(tmp_path, worse.replace("checkpoint_every: 10", "checkpoint_every: 1")))
    early = re.search(r"stopped early at step (\d+): .* of\s+step (\d+)", said)
    assert early is not None, said
    stopped, best = int(early[1]), int(early[2])
    assert best == stopped - 1 < 29
    card = (tmp_path / "nuclei" / "denoiser" / "README.md").read_text()
    assert f"averaged, of step {best}: the best validation loss; stopped early" in card
    assert torch.equal(
        checkpoint(tmp_path)["best/unet.conv_in.bias"].half(),
        load_file(tmp_path / "nuclei" / "denoiser" / "model.safetensors")["unet.conv_in.bias"],
    )


def dry(folder: Path, config: str) -> str:
    (folder / "train.yaml").write_text(config)
    said = io.StringIO()
    dry_run("denoiser", folder / "train.yaml", Console(file=said, width=300))
    return said.getvalue()


def test_a_dry_run_says_how_long_it_takes_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = dry(tmp_path, CONFIG.replace("precision: fp32", "precision: auto\nbalance: 1"))
    assert re.search(r"about \d+ .* for 30 steps of .* \(measured: fp32 .* s, bf16 .* s; ", said)
    assert re.search(r"data: \d+ images, balanced: nucleus x1", said)
    assert [path.name for path in tmp_path.iterdir()] == ["train.yaml"]


def test_a_dry_run_names_every_image_that_cannot_be_read(tmp_path: Path) -> None:
    files = [*sample_files("a"), ("b.png", b"no image"), ("b.json", b"{}")]
    shard = tmp_path / "x.tar"
    shard.write_bytes(tar_of(files))
    bad = f"""
data: {{shards: {shard}, classes: [cell]}}
out: {tmp_path}/model
licence: CC0
net: {{patch: 2, widths: [16, 32], blocks: 1}}
crop: 16
"""
    with pytest.raises(SourceError, match=r"1 of 2 images cannot be read\n.*sample 'b'"):
        dry(tmp_path, bad)


def test_an_autoencoder_that_does_not_fit_is_said_before_anything_starts(tmp_path: Path) -> None:
    latent = CONFIG.replace("patch: 2", "patch: 1") + f"latent: {{vae: {tmp_path / 'vae'}}}\n"
    with pytest.raises(ModelError, match=r"config\.json: no such file; latent\.vae names"):
        dry(tmp_path, latent)
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text(
        '{"_class_name": "AutoencoderKL", "block_out_channels": [8, 8, 8, 8, 8, 8]}'
    )
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    with pytest.raises(RecipeError, match=r"crop: is 32; .* must be a multiple of 64"):
        dry(tmp_path, latent)


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
