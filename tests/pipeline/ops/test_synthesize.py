"""synthesize: the layouts, and pictures whose labels are what they were made from."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.labels.geometry import boxes_from_masks
from pipeline.model import Models
from pipeline.ops.copy_paste import CopyPaste
from pipeline.ops.synthesize import Synthesize
from pipeline.scene.recombine import ground_ids
from pipeline.seeds import rng_for
from schemas.sample import Sample
from tests.models import tiny_denoiser
from tests.pipeline.ops.examples import CLASSES, SEG_CLASSES, applied, painted
from tests.pipeline.scenes import discs

PLACES = [(25, 30, 9, "disc"), (60, 40, 10, "disc"), (95, 60, 9, "rod"), (40, 70, 9, "disc")]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("tiny")
    return {
        "seg": tiny_denoiser(folder / "seg", CLASSES, SEG_CLASSES),
        "boxes": tiny_denoiser(folder / "boxes", CLASSES),
    }


def made(op: Synthesize, sample: Sample, models: Models, number: int = 1) -> Sample:
    peers = {sample.key: sample}
    draw = op.draw(sample, rng_for(number, sample.key, 0, "synthesize#0"), peers)
    assert draw is not None
    after = op.apply([sample], [draw], models, peers)[0]
    assert isinstance(after, Sample)
    return after


@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
def test_a_new_layout_has_the_counts_and_sizes_of_the_data_at_other_places(
    masks: bool, models: Models
) -> None:
    sample = discs(PLACES, masks=masks, class_map=masks)
    after = made(Synthesize(model="seg" if masks else "boxes", steps=1), sample, models)
    assert Counter(after.objects.labels) == Counter(sample.objects.labels)
    sides = after.objects.boxes_n4[:, 2:] - after.objects.boxes_n4[:, :2]
    assert (sides <= 24).all()
    assert not np.array_equal(after.objects.boxes_n4, sample.objects.boxes_n4)
    assert after.image_hwc.shape == sample.image_hwc.shape


def test_new_masks_do_not_overlap_and_the_map_is_what_they_say(models: Models) -> None:
    sample = discs(PLACES, masks=True, class_map=True)
    for number in range(3):
        after = made(Synthesize(model="seg", steps=1), sample, models, number)
        masks, ids = after.objects.masks_nhw, after.class_map_hw
        assert masks is not None
        assert ids is not None
        assert masks.sum(axis=0).max() == 1
        assert np.array_equal(ids > 0, masks.any(axis=0))
        assert np.array_equal(boxes_from_masks(masks), after.objects.boxes_n4)


def test_boxes_are_tight_to_what_the_map_shows_of_objects_that_are_apart(models: Models) -> None:
    sample = discs([(25, 30, 9, "disc"), (90, 60, 10, "disc")], class_map=True)
    after = made(Synthesize(model="seg", steps=1), sample, models)
    assert after.class_map_hw is not None
    for x0, y0, x1, y1 in after.objects.boxes_n4.astype(int):
        inside = after.class_map_hw[y0:y1, x0:x1] > 0
        assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_the_ground_of_a_map_goes_on_where_its_objects_were() -> None:
    sample = discs([(64, 48, 12, "disc")], class_map=True)
    assert sample.class_map_hw is not None
    halves = np.where(np.arange(128) < 64, np.uint8(2), np.uint8(3))
    striped = np.where(sample.class_map_hw == 1, np.uint8(1), halves[None])
    ground = ground_ids(replace(sample, class_map_hw=striped))
    assert np.array_equal(ground, np.broadcast_to(halves, ground.shape))


def test_a_picture_made_without_labels_claims_none(models: Models) -> None:
    sample = discs(PLACES, masks=True, class_map=True)
    op = Synthesize(model="seg", layout="empty", guidance=0, steps=1)
    unknown = made(op, sample, models)
    assert unknown.instances is None
    assert unknown.class_map_hw is not None
    assert set(unknown.class_map_hw.flat) == {255}
    empty = made(Synthesize(model="seg", layout="empty", steps=1), sample, models)
    assert len(empty.objects) == 0
    assert empty.instances is not None
    assert empty.class_map_hw is not None
    assert not empty.class_map_hw.any()


def test_labels_that_the_picture_would_not_follow_are_refused() -> None:
    with pytest.raises(ValidationError, match="ignores the labels"):
        Synthesize(model="m", guidance=0)


def test_without_an_instance_there_is_nothing_to_recombine() -> None:
    empty = discs([])
    rng = rng_for(1, "x", 0, "synthesize#0")
    assert Synthesize(model="m").draw(empty, rng, {empty.key: empty}) is None
    assert Synthesize(model="m", layout="empty").draw(empty, rng, {empty.key: empty}) is not None


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    hw=st.tuples(st.integers(1, 48), st.integers(1, 48)),
    masks=st.booleans(),
    class_map=st.booleans(),
    count=st.integers(0, 4),
    pastes=st.booleans(),
)
def test_new_labels_are_true_for_any_size_and_any_labels(
    models: Models, hw: tuple[int, int], masks: bool, class_map: bool, count: int, pastes: bool
) -> None:
    before = painted(*hw, count, masks=masks, class_map=class_map, key=f"{hw}{count}")
    model = "seg" if class_map else "boxes"
    op = CopyPaste(model=model, steps=1) if pastes else Synthesize(model=model, steps=1)
    after = applied(op, before, models)
    if after is None:
        return
    assert isinstance(after, Sample)
    boxes, found = after.objects.boxes_n4, after.objects.masks_nhw
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes[:, 2:] <= [after.width, after.height]).all()
    assert (found is None) == (before.objects.masks_nhw is None)
    if found is not None:
        assert np.array_equal(boxes_from_masks(found), boxes)
    if after.class_map_hw is not None:
        assert set(np.unique(after.class_map_hw).tolist()) <= {0, 1, 2}
        for i, label in enumerate(after.objects.labels if found is not None else ()):
            assert found is not None
            assert set(after.class_map_hw[found[i]].tolist()) == {SEG_CLASSES.index(label)}
