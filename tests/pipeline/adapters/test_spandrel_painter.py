"""LaMa and MAT: holes are filled from what is around them, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from pipeline.adapters.spandrel import painter
from pipeline.adapters.spandrel.painter import SpandrelPainter
from pipeline.model import Painter, PaintJob
from pipeline.models import describe, load_models
from pipeline.op import Op
from pipeline.ops import AnyOp
from schemas.errors import SampleError
from schemas.models import SpandrelModel
from schemas.sample import BoolArray, ImageArray, Sample
from tests.pipeline.adapters.networks import lama, mat, saved, small_fillers
from tests.pipeline.ops.examples import applied, deep, drawn, painted
from tests.pipeline.ops.test_laws import same_labels

REGIONS: tuple[dict[str, Any], ...] = (
    {"region": "remove"},
    {"region": "background"},
    {"region": "regions", "protect": "objects"},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of both, and small networks of their code while the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        small_fillers(patch)
        path = tmp_path_factory.mktemp("fillers")
        saved(path / "lama.safetensors", lama)
        saved(path / "mat.safetensors", mat)
        yield path


@pytest.fixture(scope="module")
def fillers(folder: Path) -> Mapping[str, SpandrelPainter]:
    loaded = load_models(
        {
            "lama": SpandrelModel(spandrel=str(folder / "lama.safetensors"), tile=96),
            "mat": SpandrelModel(spandrel=str(folder / "mat.safetensors")),
        },
        "cpu",
    )
    models: dict[str, SpandrelPainter] = {}
    for name, model in loaded.items():
        assert isinstance(model, SpandrelPainter) and isinstance(model, Painter)
        models[name] = model
    return models


def hole_in(sample: Sample, y: slice, x: slice) -> BoolArray:
    hole = np.zeros((sample.height, sample.width), bool)
    hole[y, x] = True
    return hole


def filled(
    model: SpandrelPainter,
    sample: Sample,
    mask: BoolArray,
    noise: int = 3,
    *,
    hole: bool = True,
    strength: float = 0.8,
    prompt: str = "",
) -> ImageArray:
    job = PaintJob(sample, sample, mask, strength, noise, hole, prompt=prompt)
    (made,) = model.repaint([job], 1, 1.0)
    assert isinstance(made, np.ndarray), made
    return made


@pytest.mark.parametrize("name", ["lama", "mat"])
def test_a_filler_can_inpaint_and_nothing_else(name: str, folder: Path) -> None:
    card = describe(SpandrelModel(spandrel=str(folder / f"{name}.safetensors")))
    assert card.does == {"inpaint"}
    assert card.about.lower() == f"{name}, spandrel"


@pytest.mark.parametrize("name", ["lama", "mat"])
@pytest.mark.parametrize("hole", [False, True], ids=["changed", "hole"])
def test_what_was_in_the_mask_is_not_seen_and_what_is_outside_stays(
    name: str, hole: bool, fillers: Mapping[str, SpandrelPainter]
) -> None:
    sample = painted(40, 56)
    mask = hole_in(sample, slice(8, 30), slice(10, 33))
    other = sample.image_hwc.copy()
    other[mask] = 255 - other[mask]
    one = filled(fillers[name], sample, mask, hole=hole)
    assert np.array_equal(
        one, filled(fillers[name], replace(sample, image_hwc=other), mask, hole=hole)
    )
    assert np.array_equal(one[~mask], sample.image_hwc[~mask])
    assert (one != sample.image_hwc)[mask].mean() > 0.5


def test_a_prompt_and_a_strength_say_nothing_to_it(fillers: Mapping[str, SpandrelPainter]) -> None:
    sample = painted(40, 56)
    mask = hole_in(sample, slice(8, 30), slice(10, 33))
    one = filled(fillers["lama"], sample, mask)
    assert np.array_equal(one, filled(fillers["lama"], sample, mask, 9, prompt="x", strength=0.1))


def test_the_noise_of_mat_is_each_samples_own(fillers: Mapping[str, SpandrelPainter]) -> None:
    """Also what it drops out when it fills; torch's own generator is left alone."""
    sample = painted(40, 56)
    mask = hole_in(sample, slice(8, 30), slice(10, 33))
    torch.manual_seed(1)
    one = filled(fillers["mat"], sample, mask, 3)
    after = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(after, torch.get_rng_state())
    torch.manual_seed(2)
    assert np.array_equal(one, filled(fillers["mat"], sample, mask, 3))
    assert not np.array_equal(one, filled(fillers["mat"], sample, mask, 4))


@pytest.mark.parametrize("region", REGIONS, ids=lambda fields: fields["region"])
@pytest.mark.parametrize("hw", [(37, 211), (48, 64), (3, 40), (1, 1)], ids=str)
def test_the_op_keeps_labels_and_pixels_whatever_the_size(
    region: dict[str, Any], hw: tuple[int, int], fillers: Mapping[str, SpandrelPainter]
) -> None:
    adapter: TypeAdapter[Op] = TypeAdapter(AnyOp)
    op = adapter.validate_python({"kind": "inpaint", "model": "lama", **region})
    before = painted(*hw, masks=True)
    after = applied(op, before, fillers)
    draw = drawn(op, before)
    if not isinstance(draw, dict):
        assert after is draw
        return
    mask = op._mask(before, draw)  # type: ignore[attr-defined]
    if mask.all():
        assert isinstance(after, SampleError) and after.slug == "no_surroundings"
        return
    assert isinstance(after, Sample)
    assert np.array_equal(after.image_hwc[~mask], before.image_hwc[~mask])
    if op.labels == "kept":
        assert same_labels(before, after)
    else:
        assert len(after.objects) < len(before.objects)


def test_neighbours_do_not_matter(fillers: Mapping[str, SpandrelPainter]) -> None:
    samples = [painted(40, 56), painted(37, 111), deep(painted(40, 56))]
    jobs = [
        PaintJob(one, one, hole_in(one, slice(8, 30), slice(10, 33)), 1.0, 3) for one in samples
    ]
    together = fillers["lama"].repaint(jobs, 1, 1.0)
    for job, made in zip(jobs, together, strict=True):
        (alone,) = fillers["lama"].repaint([job], 1, 1.0)
        assert isinstance(made, np.ndarray) and isinstance(alone, np.ndarray)
        assert made.dtype == job.sample.image_hwc.dtype and made.shape == job.sample.image_hwc.shape
        assert np.array_equal(made, alone)


def test_of_a_large_image_every_window_is_filled_from_known_pixels() -> None:
    """By a filler that says the mean of what it sees: of one colour around, one colour inside, also
    in windows that lie wholly in the hole.
    """
    image = np.full((300, 400, 3), 0.25, np.float32)
    hole = np.zeros((300, 400), bool)
    hole[5:295, 5:395] = True
    seen: list[tuple[int, int]] = []

    def fill(part: np.ndarray, unknown: BoolArray) -> np.ndarray:
        seen.append(unknown.shape)
        assert not unknown.all()
        return np.where(unknown[:, :, None], part[~unknown].mean(axis=0), part)

    made = painter._window_by_window(fill, np.where(hole[:, :, None], 9, image), hole, 96)
    assert np.allclose(made, 0.25)
    assert set(seen) == {(96, 96)}


def test_a_mask_over_everything_fails_by_name(fillers: Mapping[str, SpandrelPainter]) -> None:
    sample = painted(20, 20)
    (made,) = fillers["lama"].repaint(
        [PaintJob(sample, sample, np.ones((20, 20), bool), 1.0, 3)], 1, 1.0
    )
    assert isinstance(made, SampleError) and made.slug == "no_surroundings"


def test_an_empty_mask_gives_the_image(fillers: Mapping[str, SpandrelPainter]) -> None:
    sample = painted(20, 20)
    made = filled(fillers["lama"], sample, np.zeros((20, 20), bool))
    assert np.array_equal(made, sample.image_hwc)
