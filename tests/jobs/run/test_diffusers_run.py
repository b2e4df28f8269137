"""A pipeline of diffusers in the hands of several workers, and in a dry run."""

from __future__ import annotations

import io
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from rich.console import Console

from jobs.run.augment import dry_run
from jobs.run.plan import make_plan
from tests import tiny_pipelines as tiny
from tests.jobs.sinks import woven_chunks
from tests.pipeline.shards import sample_files, tar_of

SIZES = ((37, 211), (64, 64), (48, 60), (101, 80))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four samples of four sizes in chunks of their own, and a tiny Stable Diffusion."""
    folder = tmp_path_factory.mktemp("place")
    files = [file for n, size in enumerate(SIZES) for file in sample_files(f"s{n}", *size)]
    (folder / "train-0.tar").write_bytes(tar_of(files))
    tiny.saved(folder / "sd", tiny.stable_diffusion)
    path = folder / "cells.yaml"
    path.write_text(
        f"source: {{shards: '{folder}/train-0.tar', segmentation: seg.png}}\n"
        f"sink: {folder}/out\nseed: 7\ncopies: 1\nchunk_size: 1\ntracking: {{uri: null}}\n"
        f"models: {{painter: {{diffusers: '{folder}/sd', tile: {tiny.NATIVE}}}}}\n"
        "ops:\n- {kind: noise_denoise, model: painter, steps: 2, strength: 0.5,"
        " prompt: '{{ counts.cell }} cells'}\n"
    )
    return path


def made(recipe: Path, chunks: tuple[int, ...]) -> dict[str, dict[str, bytes]]:
    """What one worker makes of these chunks, with a model of its own: members by the copy's key."""
    planned = make_plan(recipe)
    return {
        str(row.key): members
        for number in chunks
        for row, members in woven_chunks(planned, only=number)[0][1]
    }


def test_two_workers_make_the_same_pixels_as_one(recipe: Path) -> None:
    alone = made(recipe, (0, 1, 2, 3))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as workers:
        parts = list(workers.map(made, [recipe] * 2, [(3, 1), (2, 0)]))
    assert len(alone) == len(SIZES)
    assert {**parts[0], **parts[1]} == alone


def test_a_dry_run_shows_what_the_model_would_be_told(recipe: Path) -> None:
    out = io.StringIO()
    dry_run(recipe, Console(file=out, width=120))
    assert "StableDiffusionPipeline" in out.getvalue()
    assert out.getvalue().count("2 cells") == len(SIZES)
