"""A whole run with a pipeline of diffusers, as a person starts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tiny_pipelines as tiny
from tests.jobs.workplace import Workplace
from tests.pipeline.shards import sample_files, tar_of

SIZES = ((37, 211), (64, 64), (48, 60), (101, 80))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four samples of four sizes, and a tiny Stable Diffusion."""
    folder = tmp_path_factory.mktemp("source")
    files = [file for n, size in enumerate(SIZES) for file in sample_files(f"s{n}", *size)]
    (folder / "train-0.tar").write_bytes(tar_of(files))
    tiny.saved(folder / "sd", tiny.stable_diffusion)
    return folder


def place(folder: Path, source: Path, workers: int) -> Workplace:
    folder.mkdir()
    (folder / "cells.yaml").write_text(
        f"source: {{shards: '{source}/train-0.tar', segmentation: seg.png}}\n"
        "sink: out\nseed: 7\ncopies: 1\nchunk_size: 1\ntracking: {uri: null}\n"
        f"resources: {{pool: [{workers}, {workers}]}}\n"
        f"models: {{painter: {{diffusers: '{source}/sd', tile: {tiny.NATIVE}}}}}\n"
        "ops:\n- {kind: noise_denoise, model: painter, steps: 2, strength: 0.5,"
        " prompt: '{{ counts.cell }} cells'}\n"
    )
    return Workplace(folder)


def test_two_workers_make_the_same_pixels_as_one(source: Path, tmp_path: Path) -> None:
    alone, together = (place(tmp_path / str(n), source, n) for n in (1, 2))
    for one in (alone, together):
        done = one.run()
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    assert alone.record()["counts"]["kept"] == len(SIZES)
    assert alone.left() == together.left()


def test_a_dry_run_shows_what_the_model_would_be_told(source: Path, tmp_path: Path) -> None:
    done = place(tmp_path / "dry", source, 1).command("run", "cells.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "StableDiffusionPipeline" in done.stderr
    assert done.stderr.count("2 cells") == len(SIZES)
