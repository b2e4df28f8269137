"""Looks: what is the same picture is found, whichever way up."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.known.fingerprint import WAYS, candidates, look_at, looks, small_gray, turned
from tests.pipeline.ops.examples import deep, painted

SAMPLE = painted(96, 128)
GRAY = small_gray(SAMPLE.image_hwc)
GRID = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_the_eight_ways_are_all_there_are() -> None:
    seen = {turned(GRID, way).tobytes() + bytes(turned(GRID, way).shape) for way in range(WAYS)}
    assert len(seen) == WAYS
    assert np.array_equal(turned(GRID, 0), GRID)


@pytest.mark.parametrize("way", range(WAYS))
def test_a_turned_image_is_a_candidate_and_correlates(way: int) -> None:
    other = look_at(small_gray(np.ascontiguousarray(turned_image(way))))
    eight = looks(GRAY)
    assert candidates(np.array([other.hash]), eight).tolist() == [0]
    assert max(float(look.gray @ other.gray) for look in eight) > 0.99


def turned_image(way: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    side = SAMPLE.rgb_hwc if way < 4 else SAMPLE.rgb_hwc[:, ::-1]
    return np.rot90(side, way % 4)


def test_brightness_and_depth_do_not_matter() -> None:
    its = look_at(GRAY).gray
    darker = look_at(small_gray(SAMPLE.rgb_hwc // 2)).gray
    other = look_at(small_gray(deep(SAMPLE).image_hwc)).gray
    assert min(its @ darker, its @ other) > 0.99


@pytest.mark.parametrize("value", [0, 9, 255])
def test_a_uniform_image_looks_like_nothing(value: int) -> None:
    image = np.full((64, 64, 3), value, np.uint8)
    assert look_at(small_gray(image)).flat


def test_rounding_is_no_structure() -> None:
    steps = np.random.default_rng(1).integers(9, 11, (64, 64, 1)).astype(np.uint8)
    rounded = np.broadcast_to(steps, (64, 64, 3))
    assert look_at(small_gray(rounded)).flat
    assert not look_at(small_gray(rounded * np.uint8(3))).flat
