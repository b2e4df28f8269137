"""What is special about the painter, on Stable Diffusion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.adapters.diffusers.painter import DiffusersPainter, grown
from pipeline.adapters.diffusers.probe import images_that_fit
from pipeline.adapters.diffusers.shapes import ROOM
from schemas.errors import SampleError
from tests import tiny_pipelines as tiny
from tests.pipeline.adapters.diffusers.looking import (
    again,
    changed,
    image,
    images,
    job,
    loaded,
    looks,
)
from tests.pipeline.ops.examples import deep, painted


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.saved(tmp_path_factory.mktemp("sd"), tiny.stable_diffusion)


@pytest.fixture(scope="module")
def painter(folder: Path) -> DiffusersPainter:
    return again(folder)


def test_nothing_to_do_leaves_the_image_as_it_is(painter: DiffusersPainter) -> None:
    still, closed = job(strength=0), job(free_hw=np.zeros((48, 60), bool))
    with looks(painter) as shown:
        for made in painter.repaint([still, closed], 3, 7.5):
            assert np.array_equal(image(made), still.sample.image_hwc)
    assert not shown


def test_a_deep_image_fails_by_name_and_alone(painter: DiffusersPainter) -> None:
    sample = deep(painted(48, 60))
    refused, made = painter.repaint([job(sample=sample, wanted=sample), job()], 2, 0)
    assert isinstance(refused, SampleError)
    assert refused.slug == "deep_image"
    image(made)


def test_without_guidance_the_network_looks_once(painter: DiffusersPainter) -> None:
    for guidance, images_shown in ((0, 1), (1, 1), (7.5, 2)):
        painter.batch_pixels = tiny.NATIVE**2
        with looks(painter) as shown:
            painter.repaint([job()], 2, guidance)
        assert {len(x) for x in shown} == {images_shown}
    painter.batch_pixels = 2 * tiny.NATIVE**2


def test_nothing_of_a_hole_is_seen(painter: DiffusersPainter) -> None:
    """Two samples that differ in the hole alone, and want the same there."""
    dark = job(hole=True, strength=1.0)
    pixels = dark.sample.image_hwc.copy()
    pixels[dark.free_hw] = 255
    other = replace(dark.sample, image_hwc=pixels)
    bright = job(hole=True, strength=1.0, sample=other)
    for one, other in zip(images(painter, [dark]), images(painter, [bright]), strict=True):
        assert np.array_equal(one[dark.free_hw], other[dark.free_hw])


def test_no_hole_is_too_thin_for_the_latents_to_see() -> None:
    free = np.zeros((20, 30), bool)
    free[3, 17] = True
    seen = grown(free, (24, 32), 8)
    assert seen.shape == (24, 32)
    assert seen[0:8, 16:24].all()
    assert seen.sum() == 8 * 8
    everything = grown(np.ones((20, 30), bool), (24, 32), 8)
    assert everything.all(), "what is padded is as free as what it mirrors"


def test_a_network_that_gives_no_numbers_fails_every_sample_by_name(folder: Path) -> None:
    broken = again(folder)
    broken.any.unet.conv_out.bias.data.fill_(torch.nan)
    for made in broken.repaint([job(), job(noise=2)], 2, 0):
        assert isinstance(made, SampleError)
        assert made.slug == "not_finite"


def test_a_batch_that_does_not_fit_is_halved(
    painter: DiffusersPainter, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [job(noise=seed) for seed in range(1, 5)]
    before = images(painter, jobs)
    monkeypatch.setattr(painter, "batch_pixels", 4 * tiny.NATIVE**2)
    sizes: list[int] = []
    make = painter.batch

    def short_of_memory(group: Any, batch: Any, steps: int, guidance: float) -> Any:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return make(group, batch, steps, guidance)

    monkeypatch.setattr(painter, "batch", short_of_memory)
    after = images(painter, jobs)
    assert sizes == [4, 2, 2]
    assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))


def test_a_batch_is_as_large_as_the_memory_holds(
    painter: DiffusersPainter, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = painter.batch
    sizes: list[int] = []

    def short_of_memory(group: Any, batch: Any, steps: int, guidance: float) -> Any:
        sizes.append(len(batch))
        if len(batch) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return make(group, batch, steps, guidance)

    monkeypatch.setattr(painter, "batch", short_of_memory)
    assert images_that_fit(painter) == 4
    assert sizes == [2, 4, 8]


def test_large_images_are_looked_at_in_windows_and_odd_ones_come_back_exactly(
    folder: Path,
) -> None:
    painter = again(folder, images=1, tile=512, scheduler="EulerDiscreteScheduler")
    shown: list[tuple[int, ...]] = []
    hook = painter.any.unet.conv_in.register_forward_pre_hook(
        lambda _, given: shown.append(tuple(given[0].shape))
    )
    jobs = [job(37, 211), job(2000, 1500, hole=True), job(3, 1000, strength=0.1)]
    for one, made in zip(jobs, painter.repaint(jobs, 1, 0), strict=True):
        assert image(made).shape == one.sample.image_hwc.shape
        assert not changed(image(made), one)[~one.free_hw].any()
    hook.remove()
    assert len(shown) == 1 + 5 * 4 + 1
    assert all(height * width <= ROOM * (512 // 8) ** 2 for _, _, height, width in shown)


def test_a_window_has_the_schedule_of_a_picture_of_its_size(tmp_path: Path) -> None:
    painter = loaded(tmp_path, tiny.flux)
    schedules = []
    for size in ((64, 64), (150, 200), (64, 64)):
        images(painter, [job(*size)], steps=4)
        schedules.append(painter.any.scheduler.sigmas.clone())
    assert torch.equal(schedules[0], schedules[1])
    assert torch.equal(schedules[0], schedules[2])


def test_global_random_state_is_neither_read_nor_changed(folder: Path) -> None:
    painter = again(folder, scheduler="EulerAncestralDiscreteScheduler")
    made = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        made += images(painter, [job()])
        assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(*made)
