"""`noiseloom models fetch`: what a recipe pins comes into the cache, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.hub_server import Hub, serve

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "lab/painter"
WANTED = {
    "model_index.json": b'{"_class_name": "NoSuchPipeline"}',
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": b"weights",
    "tokenizer/merges.txt": b"a b",
}
UNWANTED = {
    "unet/diffusion_pytorch_model.bin": b"a pickle",
    "unet/diffusion_pytorch_model.fp16.safetensors": b"another variant",
    "everything.safetensors": b"one file of everything",
    "pipeline.py": b"raise SystemExit",
    "vae/model.onnx": b"another format",
}


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    files = {(REPO, name): data for name, data in {**WANTED, **UNWANTED}.items()}
    with serve(Hub(COMMIT, files)) as hub:
        yield hub


def fetch(
    folder: Path, hub: Hub, revision: str = COMMIT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command, as a person starts it, on a recipe with a model of this revision."""
    (folder / "r.yaml").write_text(
        "source: {shards: a.tar}\nsink: out\nops: [{kind: noise_denoise, model: m}]\n"
        f"models: {{m: {{diffusers: {REPO}, revision: '{revision}'}}}}\n"
    )
    return command(folder, hub, "r.yaml", **environment)


def command(
    folder: Path, hub: Hub, recipe: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    own = {"PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "home")}
    code = "from jobs.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "models", "fetch", recipe],
        cwd=folder,
        env={**os.environ, **own, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_settings_and_safetensors_come_and_neither_pickles_nor_code(
    tmp_path: Path, hub: Hub
) -> None:
    done = fetch(tmp_path, hub)
    (snapshot,) = (tmp_path / "home").glob(f"hub/models--lab--painter/snapshots/{COMMIT}")
    there = {
        str(path.relative_to(snapshot)): path.read_bytes()
        for path in snapshot.rglob("*")
        if path.is_file()
    }
    assert there == WANTED
    # It is checked as before a run: this one is no pipeline that there is.
    assert done.returncode == 2
    assert "NoSuchPipeline" in done.stderr
    assert "Traceback" not in done.stderr


LIFT = """\
data: {shards: a.tar, classes: [cell]}
validation: {shards: b.tar, classes: [cell]}
out: out
images: 4
student: {kind: fcos}
baseline: painted
arms: {painted: {recipe: r.yaml}, real: {}}
"""


def test_the_models_of_a_lift_tests_baseline_come_too(tmp_path: Path, hub: Hub) -> None:
    fetch(tmp_path, hub, HF_HUB_OFFLINE="1")  # its recipe is there; nothing was fetched
    assert not list((tmp_path / "home").rglob("*.safetensors"))
    (tmp_path / "lift.yaml").write_text(LIFT)
    (tmp_path / "cells.yaml").write_text(
        "source: {shards: a.tar, classes: [cell]}\nsink: out\n"
        "ops: [{kind: classic, transforms: [{HorizontalFlip: {p: 0.5}}]}]\n"
        "publish: {require: helping, lift: lift.yaml}\n"
    )
    done = command(tmp_path, hub, "cells.yaml")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "home").rglob(f"snapshots/{COMMIT}/unet/*.safetensors"))) == 1


@pytest.mark.parametrize(
    ("revision", "environment", "says", "code"),
    [
        ("main", {}, "revision: <full commit", 2),
        ("f" * 40, {}, "cannot be fetched", 4),
        (COMMIT, {"HF_HUB_OFFLINE": "1"}, "cannot be fetched", 4),
        (COMMIT, {"HF_ENDPOINT": "http://127.0.0.1:1"}, "cannot be fetched", 4),
    ],
)
def test_what_cannot_be_fetched_is_said_in_one_line(
    tmp_path: Path, hub: Hub, revision: str, environment: dict[str, str], says: str, code: int
) -> None:
    done = fetch(tmp_path, hub, revision, **environment)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert says in done.stderr.splitlines()[-1]
