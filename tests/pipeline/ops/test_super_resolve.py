"""`super_resolve`: labels follow exactly, or stay where they are."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.diffusion.native import NativeUpscaler
from pipeline.ops import SuperResolve
from pipeline.seeds import rng_for
from schemas.errors import SampleError
from schemas.sample import Instances, Sample
from tests.models import tiny_upscaler


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> NativeUpscaler:
    return tiny_upscaler(tmp_path_factory.mktemp("m"))


def scene() -> Sample:
    image = np.zeros((13, 17, 3), np.uint8)
    image[3:9, 4:12] = 200
    mask = image[:, :, 0] == 200
    return Sample(
        "k",
        image,
        Instances(np.array([[4.0, 3, 12, 9]]), ("a",), mask[None]),
        mask.astype(np.uint8),
    )


def made(op: SuperResolve, model: NativeUpscaler) -> Sample:
    draw = op.draw(scene(), rng_for(1, "k", 0, "x"), {})
    assert draw is not None
    (out,) = op.apply([scene()], [draw], {"m": model}, {})
    assert isinstance(out, Sample)
    return out


@pytest.mark.parametrize("scale", [2, 4])
def test_boxes_masks_and_class_ids_are_enlarged_exactly(scale: int, model: NativeUpscaler) -> None:
    op = SuperResolve.model_validate({"model": "m", "scale": scale})
    out, source = made(op, model), scene()
    assert out.image_hwc.shape == (13 * scale, 17 * scale, 3)
    assert out.objects.boxes_n4.tolist() == [[4 * scale, 3 * scale, 12 * scale, 9 * scale]]
    big = (
        source.class_map_hw.repeat(scale, 0).repeat(scale, 1)
        if source.class_map_hw is not None
        else None
    )
    assert out.class_map_hw is not None and (out.class_map_hw == big).all()
    assert out.objects.masks_nhw is not None and (out.objects.masks_nhw[0] == (big == 1)).all()


def test_restoring_gives_the_size_and_the_labels_back(model: NativeUpscaler) -> None:
    out, source = made(SuperResolve(model="m", then="restore"), model), scene()
    assert out.image_hwc.shape == source.image_hwc.shape
    assert (out.image_hwc != source.image_hwc).any()
    assert out.objects.boxes_n4.tolist() == source.objects.boxes_n4.tolist()
    assert out.class_map_hw is not None and (out.class_map_hw == source.class_map_hw).all()


def test_an_image_that_would_not_fit_into_memory_fails_alone_with_its_size() -> None:
    huge = Sample("k", np.zeros((5000, 1000, 3), np.uint8), None, None)
    with pytest.raises(SampleError, match="too_large: 1000x5000 at scale 4 is 80000000 pixels"):
        SuperResolve(model="m", scale=4).draw(huge, rng_for(1, "k", 0, "x"), {})
