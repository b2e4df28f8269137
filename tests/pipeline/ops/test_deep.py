"""Gray of 16 bits through every op in `AnyOp`: it stays what it is, or fails by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.chain.weave import RunContext, WovenCopy, weave_chunk
from pipeline.codec import encode
from pipeline.images.formats import read_picture
from pipeline.labels.regions import objects_region
from pipeline.model import Models
from pipeline.op import Op
from pipeline.ops import Classic
from pipeline.recipe import FullRecipe
from pipeline.source.plan import EncodedSample
from schemas.errors import SampleError
from schemas.sample import Sample
from tests.pipeline.ops.examples import (
    applied,
    deep,
    example_ops,
    name_of,
    painted,
)

OPS = example_ops()


def woven(op: Op, samples: Sequence[Sample], models: Models) -> list[WovenCopy]:
    recipe = FullRecipe.model_validate(
        {
            "source": {"shards": "in.tar", "segmentation": "seg.png"},
            "sink": "out",
            "ops": [op.model_dump(mode="json")],
        }
    )
    encoded = []
    for sample in samples:
        files = encode(sample, recipe.source)
        members = files["png"], "png", files["json"], files["seg.png"]
        encoded.append(EncodedSample(sample.key, *members, "hash", "in.tar"))
    return weave_chunk(encoded, recipe, models, RunContext("run", "recipe", "chunk"))


@pytest.mark.parametrize("op", OPS, ids=map(name_of, OPS))
def test_gray_of_16_bits_comes_through_or_fails_by_name(op: Op, models: Models) -> None:
    """Also with samples of 8 bits beside it in the chunk."""
    samples = [
        deep(painted(48, 64, key="deep")),
        painted(40, 56, masks=True, key="rgb"),
        deep(painted(33, 57, masks=True, key="deeper")),
    ]
    first, rgb, second = woven(op, samples, models)
    assert rgb.row.status == "kept"
    for copy in (first, second):
        if copy.row.status == "failed":
            assert copy.row.reason == "deep_image", copy.row.detail
            continue
        assert copy.row.status == "kept"
        image = read_picture(copy.members["png"]).image_hwc
        assert copy.sample is not None
        assert np.array_equal(image, copy.sample.image_hwc)
        assert (image.shape[2:], image.dtype) == ((1,), np.uint16)
        assert copy.row.psnr is None or 5 < copy.row.psnr <= 100


def test_ops_that_make_pixels_carry_gray_of_16_bits(models: Models) -> None:
    for op in OPS:
        if op.kind not in ("noise_denoise", "inpaint", "super_resolve"):
            continue
        before = deep(painted(masks=True))
        after = applied(op, before, models)
        assert isinstance(after, Sample), op
        assert after.deep
        over = np.ptp(before.image_hwc) // 50  # of bicubic, where an image is shrunk back
        assert after.image_hwc.min() + over >= before.image_hwc.min()
        assert after.image_hwc.max() <= before.image_hwc.max() + over
        same_size = after.image_hwc.shape == before.image_hwc.shape
        new = after.image_hwc[after.image_hwc != before.image_hwc] if same_size else after.image_hwc
        assert new.size > 200
        assert len(np.unique(new & 15)) == 16  # not 8 bits in disguise


@pytest.mark.parametrize(
    "op", [op for op in OPS if op.deep and getattr(op, "protect", "none") != "none"], ids=name_of
)
def test_protected_pixels_of_16_bits_come_out_bit_identical(op: Op, models: Models) -> None:
    before = deep(painted(masks=True))
    after = applied(op, before, models)
    assert isinstance(after, Sample)
    objects = objects_region(before)
    protected = objects if getattr(op, "protect", "") == "objects" else ~objects
    assert np.array_equal(after.image_hwc[protected], before.image_hwc[protected])


def test_classic_names_the_transforms_that_take_8_bits() -> None:
    transforms = ({"HorizontalFlip": {}}, {"OneOf": {"transforms": [{"GaussNoise": {}}]}})
    outcome = applied(Classic(transforms=transforms), deep(painted()), {})
    assert isinstance(outcome, SampleError)
    assert (outcome.slug, outcome.detail) == ("deep_image", "takes 8 bits: GaussNoise")


def test_a_flip_of_16_bits_is_exact_and_its_labels_follow() -> None:
    before = deep(painted(40, 64, masks=True))
    after = applied(Classic(transforms=({"HorizontalFlip": {"p": 1}},)), before, {})
    assert isinstance(after, Sample)
    assert np.array_equal(after.image_hwc, before.image_hwc[:, ::-1])
    assert after.objects.masks_nhw is not None and before.objects.masks_nhw is not None
    assert np.array_equal(after.objects.masks_nhw, before.objects.masks_nhw[:, :, ::-1])
