"""What holds for a pipeline of every family, each with random weights, saved and loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.adapters.diffusers.families import jobs_of
from pipeline.adapters.diffusers.painter import DiffusersPainter
from pipeline.model import Painter
from tests.pipeline.adapters.diffusers.looking import (
    FAMILIES,
    changed,
    images,
    job,
    loaded,
    looks,
    same,
)


@pytest.fixture(scope="module", params=FAMILIES)
def painter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Painter:
    folder: Path = tmp_path_factory.mktemp(request.param)
    return loaded(folder, FAMILIES[request.param])


def test_pixels_change_where_they_are_free_and_nowhere_else(painter: DiffusersPainter) -> None:
    jobs = [
        job(prompt="a cell"),
        job(37, 53, hole=True, strength=1.0, negative_prompt="blurry"),
        job(90, 150),
        job(1, 1),
    ]
    for one, made in zip(jobs, images(painter, jobs), strict=True):
        assert made.shape == one.sample.image_hwc.shape
        where = changed(made, one)
        assert not where[~one.free_hw].any()
        assert where[one.free_hw].mean() > 0.9


def test_a_job_does_not_notice_its_neighbours(painter: DiffusersPainter) -> None:
    jobs = [
        job(noise=2**52 + 1, prompt="one"),
        job(noise=2, prompt="a longer prompt than the other, by more than a few tokens"),
        job(noise=3, hole=True),
        job(48, 64, noise=4, prompt="one", negative_prompt="two"),
    ]
    alone = [images(painter, [one])[0] for one in jobs]
    together = images(painter, jobs[::-1])[::-1]
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other)


def test_the_latents_at_the_start_are_the_same_in_a_batch_of_any_size(
    painter: DiffusersPainter, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [job(noise=seed) for seed in (5, 6, 7)]
    starts = []
    for batch in (1, 3):
        monkeypatch.setattr(painter, "batch_pixels", batch * 64 * 64)
        with looks(painter) as shown:
            painter.repaint(jobs, 2, 0)
        firsts = shown[:: len(shown) * batch // len(jobs)]
        starts.append([x for call in firsts for x in call.split(1)])
    assert all(same(*pair) for pair in zip(*starts, strict=True))
    assert not same(starts[0][0], starts[0][1])


def test_as_many_steps_run_as_the_strength_says(painter: DiffusersPainter) -> None:
    extra = int(type(painter.any.scheduler).__name__ == "PNDMScheduler")  # it looks twice once
    for strength, run in ((0.01, 1), (0.5, 3), (0.99, 6), (1.0, 6)):
        with looks(painter) as shown:
            painter.repaint([job(strength=strength)], 6, 0)
        assert len(shown) == run + extra


def test_the_text_and_the_noise_matter(painter: DiffusersPainter) -> None:
    one, noise, text = images(
        painter, [job(prompt="a"), job(prompt="a", noise=2), job(prompt="another thing")]
    )
    assert not np.array_equal(one, noise)
    assert not np.array_equal(one, text)


def test_what_a_family_can_do_is_known_by_its_name() -> None:
    both = frozenset({"denoise", "inpaint", "redraw"})
    assert jobs_of("StableDiffusionPipeline") == both
    assert jobs_of("StableDiffusionXLImg2ImgPipeline") == both
    assert jobs_of("FluxFillPipeline") == both
    assert jobs_of("QwenImagePipeline") == both
    assert jobs_of("LatentConsistencyModelPipeline") == {"denoise"}
    assert jobs_of("StableDiffusionPipeline", ["canny"]) == both
    assert jobs_of("FluxPipeline", ["canny", "segmentation"]) == both | {"synthesize"}
    assert jobs_of("StableDiffusionUpscalePipeline") == {"upscale"}
    names = "FluxKontext", "QwenImageEdit", "IF", "ZImage", "Wan", "No"
    assert {jobs_of(f"{name}Pipeline") for name in names} == {frozenset()}
    assert jobs_of("StableDiffusion3Pipeline", ["canny"]) == frozenset()
    assert jobs_of("FluxControlPipeline") == frozenset()
