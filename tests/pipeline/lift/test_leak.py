"""A validation image that was seen is found, in whatever guise; others are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.lift.leak import Watch
from pipeline.lift.subset import pool_of
from schemas.recipe import Source
from schemas.sample import ByteArray, Sample

DATA = {
    "bccd": (Source(shards=("data/bccd/*.tar",)), "val"),
    "nuclei": (Source(shards=("data/nuclei/*.tar",), segmentation="seg.png"), "val"),
}


@pytest.fixture(scope="module", params=["bccd", "nuclei"])
def sets(request: pytest.FixtureRequest) -> tuple[list[Sample], list[Sample]]:
    source, _ = DATA[request.param]
    samples = list(pool_of(source).samples())
    held_out = ["/val-" in sample.lineage.shard for sample in samples]
    return (
        [s for s, val in zip(samples, held_out, strict=True) if val],
        [s for s, val in zip(samples, held_out, strict=True) if not val],
    )


def jpeg(image: ByteArray) -> ByteArray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=30)
    return np.array(Image.open(buffer))


def half(image: ByteArray) -> ByteArray:
    size = image.shape[1] // 2, image.shape[0] // 2
    return np.array(Image.fromarray(image).resize(size))


def brighter(image: ByteArray) -> ByteArray:
    return np.clip(image * 1.2 + 5, 0, 255).astype(np.uint8)


def turned(image: ByteArray) -> ByteArray:
    return np.ascontiguousarray(np.rot90(image)[:, ::-1])


def test_none_of_our_validation_images_is_among_the_training_images(
    sets: tuple[list[Sample], list[Sample]],
) -> None:
    validation, training = sets
    assert list(Watch(validation).leaks(training, "training")) == []


def test_the_same_pixels_are_found_in_another_file(
    sets: tuple[list[Sample], list[Sample]],
) -> None:
    validation, training = sets
    planted = [*training, replace(validation[2], key="renamed")]
    (leak,) = Watch(validation).leaks(planted, "training")
    assert (leak.key, leak.correlation) == (validation[2].key, 1.0)
    assert "renamed of training" in str(leak)


@pytest.mark.parametrize("disguise", [jpeg, half, brighter, turned])
def test_every_disguised_copy_is_found_and_named(
    sets: tuple[list[Sample], list[Sample]], disguise: Callable[[ByteArray], ByteArray]
) -> None:
    validation, _ = sets
    planted = [replace(s, image_hwc=disguise(s.rgb_hwc), class_map_hw=None) for s in validation]
    leaks = list(Watch(validation).leaks([replace(p, instances=None) for p in planted], "x"))
    assert [leak.key for leak in leaks] == [sample.key for sample in validation]
    assert all(leak.correlation < 1 for leak in leaks)


def test_black_images_are_not_each_others_copies() -> None:
    black = Sample("a", np.zeros((32, 32, 3), np.uint8), None, None)
    other = replace(black, key="b", image_hwc=np.full((40, 40, 3), 9, np.uint8))
    assert list(Watch([black]).leaks([other], "x")) == []
