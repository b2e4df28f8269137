"""Super-resolution networks through spandrel: any architecture, any size, the same pixels in tiles
as in one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import nn

from pipeline.adapters.spandrel.upscaler import SpandrelUpscaler
from pipeline.chain.weave import RunContext, weave_chunk
from pipeline.codec import encode
from pipeline.model import EnlargeJob, Upscaler
from pipeline.models import describe, load_models
from pipeline.op import Op
from pipeline.ops import AnyOp
from pipeline.recipe import FullRecipe
from pipeline.source.plan import EncodedSample
from schemas.errors import SampleError
from schemas.models import SpandrelModel
from schemas.sample import ImageArray, Sample
from tests.pipeline.adapters.networks import compact, esrgan, real_plksr, saved, swinir
from tests.pipeline.ops.examples import applied, deep, painted
from tests.pipeline.ops.test_laws import assert_paint_lies_under_its_labels, same_labels

NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], int]] = {
    "esrgan-x4": (esrgan, 4),
    "esrgan-x2": (lambda: esrgan(2), 2),
    "compact-x2": (compact, 2),
    "compact-x4": (lambda: compact(4), 4),
    "swinir-x2": (swinir, 2),
    "real-plksr-x2": (real_plksr, 2),
    "gray-x2": (lambda: compact(2, channels=1), 2),
}
SIZES = ((1, 1), (3, 40), (37, 211), (60, 70))
TILE = 64


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    """Of two tiles: full ones would only cost time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.adapters.spandrel.upscaler.CPU_BATCH_PIXELS", 48 * 64)
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    return {
        name: saved(folder / f"{name}.safetensors", make) for name, (make, _) in NETWORKS.items()
    }


def loaded(path: Path, tile: int | None = TILE) -> SpandrelUpscaler:
    spec = SpandrelModel(spandrel=str(path), tile=tile)
    model = load_models({"m": spec}, "cpu")["m"]
    assert isinstance(model, SpandrelUpscaler) and isinstance(model, Upscaler)
    assert model.digest == describe(spec).digest
    return model


def picture(height: int, width: int, seed: int = 0) -> ImageArray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def enlarged(model: Upscaler, *images: ImageArray, factor: int) -> list[ImageArray]:
    made = model.upscale([EnlargeJob(image) for image in images], factor)
    good = [one for one in made if not isinstance(one, SampleError)]
    assert len(good) == len(images), made
    return good


@pytest.mark.parametrize("name", NETWORKS)
def test_a_card_tells_the_architecture_and_the_one_factor_of_a_network(
    name: str, files: Mapping[str, Path]
) -> None:
    card = describe(SpandrelModel(spandrel=str(files[name])))
    assert (card.does, card.scales) == ({"upscale"}, {NETWORKS[name][1]})
    assert card.about.endswith(f"x{NETWORKS[name][1]}, spandrel") and not card.prompted
    assert len(card.digest) == 16


@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_of_any_size_becomes_exactly_as_many_times_as_large_whatever_its_neighbours(
    name: str, files: Mapping[str, Path]
) -> None:
    model, factor = loaded(files[name]), NETWORKS[name][1]
    images = [picture(*hw, seed) for seed, hw in enumerate([*SIZES, SIZES[-1]])]
    together = enlarged(model, *images, factor=factor)
    for image, large in zip(images, together, strict=True):
        assert large.shape == (image.shape[0] * factor, image.shape[1] * factor, 3)
        assert np.array_equal(large, enlarged(model, image, factor=factor)[0])


@pytest.mark.parametrize("name", ["compact-x2", "compact-x4", "real-plksr-x2"])
def test_tiles_give_what_one_piece_gives_where_a_network_sees_no_farther_than_their_margin(
    name: str, files: Mapping[str, Path]
) -> None:
    """To one level of 255, where float32 rounds to the other side."""
    factor, image = NETWORKS[name][1], picture(150, 170)
    (tiled,) = enlarged(loaded(files[name], 64), image, factor=factor)
    (whole,) = enlarged(loaded(files[name], 256), image, factor=factor)
    assert np.abs(tiled.astype(int) - whole.astype(int)).max() <= 1
    assert (tiled != whole).mean() < 1e-3
    assert whole.std() > 1


def test_the_padding_that_a_network_asks_for_is_cut_off_again(tmp_path: Path) -> None:
    """With and without it the same pixels, as far from it as the network sees."""
    model = loaded(saved(tmp_path / "c.safetensors", compact), 64)
    model._network.size_requirements.multiple_of = 16
    model._network.size_requirements.minimum = 48
    image = picture(30, 41)
    (with_padding,) = enlarged(model, image, factor=2)
    (without,) = enlarged(loaded(tmp_path / "c.safetensors"), image, factor=2)
    assert with_padding.shape == (60, 82, 3)
    inside = np.s_[:-10, :-10]
    assert np.abs(with_padding[inside].astype(int) - without[inside].astype(int)).max() <= 1


def test_gray_stays_gray_and_16_bits_stay_16_bits(files: Mapping[str, Path]) -> None:
    """The levels of deep gray, too: an enlarger that enlarges only gives its input back."""
    gray = np.repeat(picture(20, 30)[:, :, :1], 3, axis=2)
    (large,) = enlarged(loaded(files["compact-x2"]), gray, factor=2)
    assert (large == large[:, :, :1]).all() and large.std() > 1
    sample = deep(painted(40, 52))
    made = enlarged(loaded(files["compact-x2"]), sample.image_hwc, gray, factor=2)
    assert made[0].shape == (80, 104, 1) and made[0].dtype == np.uint16
    assert np.array_equal(made[1], large)


def test_deep_gray_keeps_its_levels_and_its_hot_pixels(tmp_path: Path) -> None:
    """Through a network that repeats every pixel, which Compact with zeros does."""
    path = saved(tmp_path / "c.safetensors", compact)
    save_file({k: torch.zeros_like(v) for k, v in load_file(path).items()}, path)
    image = deep(painted(40, 52)).image_hwc.copy()
    image[5, 7] = 60000
    (large,) = enlarged(loaded(path), image, factor=2)
    plain = image.repeat(2, 0).repeat(2, 1)
    plain[4:18, 8:22] = large[4:18, 8:22]  # bicubic rings around the hot pixel
    assert (np.abs(large.astype(int) - plain.astype(int)) > 1).mean() < 0.01
    assert large[10:12, 14:16].min() > 40000


def test_no_numbers_from_a_network_are_an_error_of_the_sample(tmp_path: Path) -> None:
    path = saved(tmp_path / "c.safetensors", compact)
    save_file({k: torch.full_like(v, np.nan) for k, v in load_file(path).items()}, path)
    (made,) = loaded(path).upscale([EnlargeJob(picture(8, 8))], 2)
    assert isinstance(made, SampleError) and made.slug == "not_finite"


def op_of(**fields: object) -> Op:
    adapter: TypeAdapter[Op] = TypeAdapter(AnyOp)
    return adapter.validate_python({"kind": "super_resolve", "model": "upscaler", **fields})


@pytest.fixture(scope="module")
def nearest(tmp_path_factory: pytest.TempPathFactory) -> SpandrelUpscaler:
    """Compact with small weights: nearly the nearest neighbour, so that paint stays paint."""
    path = saved(tmp_path_factory.mktemp("nearest") / "c.safetensors", compact)
    save_file({name: tensor * 0.5 for name, tensor in load_file(path).items()}, path)
    return loaded(path)


@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
def test_labels_follow_or_stay_exactly(masks: bool, nearest: SpandrelUpscaler) -> None:
    before = painted(60, 90, masks=masks)
    after = applied(op_of(scale=2, then="keep"), before, {"upscaler": nearest})
    assert isinstance(after, Sample) and after.image_hwc.shape == (120, 180, 3)
    assert_paint_lies_under_its_labels(before, after)
    back = applied(op_of(scale=2, then="restore"), before, {"upscaler": nearest})
    assert isinstance(back, Sample) and back.image_hwc.shape == (60, 90, 3)
    assert same_labels(before, back)


def test_a_recipe_with_a_network_makes_every_sample_of_a_chunk(files: Mapping[str, Path]) -> None:
    """Of mixed sizes, larger than the tile, 8 and 16 bits; and each the same when made alone."""
    recipe = FullRecipe.model_validate(
        {
            "source": {"shards": "in.tar", "segmentation": "seg.png"},
            "sink": "out",
            "ops": [{"kind": "super_resolve", "model": "upscaler", "scale": 4, "then": "restore"}],
            "models": {"upscaler": {"spandrel": str(files["compact-x4"]), "tile": TILE}},
        }
    )
    samples = [
        painted(48, 64, key="a"),
        painted(37, 211, key="b", masks=True),
        deep(painted(33, 57, key="c")),
        painted(3, 40, key="d"),
    ]
    models = load_models(recipe.models, "cpu")
    encoded = []
    for sample in samples:
        parts = encode(sample, recipe.source)
        members = parts["png"], "png", parts["json"], parts["seg.png"]
        encoded.append(EncodedSample(sample.key, *members, "hash", "in.tar"))
    context = RunContext("run", "recipe", "chunk")
    woven = weave_chunk(encoded, recipe, models, context)
    assert [copy.row.status for copy in woven] == ["kept"] * 4, [copy.row.detail for copy in woven]
    alone = [weave_chunk([one], recipe, models, context)[0] for one in encoded]
    assert [copy.members for copy in woven] == [copy.members for copy in alone]
