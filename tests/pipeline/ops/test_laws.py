"""The laws that every op in `AnyOp` obeys, tested over the examples of every kind."""

from __future__ import annotations

import json
import pickle
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from pipeline.labels.geometry import boxes_from_masks
from pipeline.labels.regions import objects_region
from pipeline.model import Models
from pipeline.op import Draw, Op, Outcome
from pipeline.ops import AnyOp
from schemas.errors import SampleError
from schemas.sample import Sample
from tests.pipeline.ops.examples import (
    CLASSES,
    EXAMPLES,
    PAINTS,
    SEG_CLASSES,
    applied,
    drawn,
    example_ops,
    kinds,
    name_of,
    paint_inside,
    paint_of,
    paint_share,
    painted,
    peers_of,
)

OPS = example_ops()
every_op = pytest.mark.parametrize("op", OPS, ids=map(name_of, OPS))
SIZES = ((1, 1), (3, 40), (16, 16), (37, 111))


def same(a: Outcome | None, b: Outcome | None) -> bool:
    """Bit for bit the same outcome."""
    if not isinstance(a, Sample) or not isinstance(b, Sample):
        return a is b or repr(a) == repr(b)
    return np.array_equal(a.image_hwc, b.image_hwc) and same_labels(a, b)


def same_labels(a: Sample, b: Sample) -> bool:
    x, y = a.objects, b.objects
    return (
        (a.instances is None) == (b.instances is None)
        and np.array_equal(x.boxes_n4, y.boxes_n4)
        and x.labels == y.labels
        and _same_or_none(x.masks_nhw, y.masks_nhw)
        and _same_or_none(a.class_map_hw, b.class_map_hw)
    )


def _same_or_none(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return np.array_equal(a, b) if a is not None and b is not None else a is b


def test_every_kind_of_op_has_examples() -> None:
    assert kinds() == set(EXAMPLES)


@every_op
def test_an_op_survives_its_way_through_a_recipe_and_to_a_worker(op: Op) -> None:
    adapter: TypeAdapter[Op] = TypeAdapter(AnyOp)
    assert adapter.validate_python(json.loads(json.dumps(op.model_dump(mode="json")))) == op
    assert pickle.loads(pickle.dumps(op)) == op


@every_op
def test_a_draw_is_plain_json_and_depends_on_its_generator_alone(op: Op) -> None:
    sample = painted()
    draw = drawn(op, sample)
    assert isinstance(draw, dict)
    assert json.loads(json.dumps(draw, allow_nan=False)) == draw
    assert drawn(op, sample) == draw
    assert drawn(op, sample, "law#1") != draw or not draw


@every_op
def test_the_same_draw_gives_the_same_bytes_and_leaves_its_input_alone(
    op: Op, models: Models
) -> None:
    sample, untouched = painted(masks=True), painted(masks=True)
    once = applied(op, sample, models)
    applied(op, painted(30, 40, key="another"), models)
    assert isinstance(once, Sample)
    assert same(once, applied(op, sample, models))
    assert same(sample, untouched)


@every_op
def test_global_random_state_is_neither_read_nor_changed(op: Op, models: Models) -> None:
    outcomes: list[Outcome | None] = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        before = random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002
        outcomes.append(applied(op, painted(), models))
        after = random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002
        assert after == before
    assert same(*outcomes)


@every_op
def test_a_sample_does_not_notice_its_neighbours(op: Op, models: Models) -> None:
    samples = [
        painted(48, 64, key="a"),
        painted(37, 111, key="b", masks=True),
        painted(48, 64, key="c", boxes=False),
        painted(33, 40, key="d", class_map=False),
    ]
    pairs: list[tuple[Sample, Draw]] = []
    for sample in samples:
        draw = drawn(op, sample)
        if isinstance(draw, dict):
            pairs.append((sample, draw))
    alone = [op.apply([sample], [draw], models, peers_of(sample))[0] for sample, draw in pairs]
    peers = peers_of(*samples)
    together = op.apply([s for s, _ in pairs], [d for _, d in pairs], models, peers)
    backwards = op.apply([s for s, _ in pairs[::-1]], [d for _, d in pairs[::-1]], models, peers)[
        ::-1
    ]
    assert len(together) == len(pairs) >= 2
    for one, other, another in zip(alone, together, backwards, strict=True):
        assert same(one, other)
        assert same(one, another)


@every_op
@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
def test_labels_obey_their_contract(op: Op, masks: bool, models: Models) -> None:
    before = painted(60, 90, masks=masks)
    after = applied(op, before, models)
    assert isinstance(after, Sample)
    if op.labels == "kept":
        assert same_labels(before, after)
        assert after.image_hwc.shape == before.image_hwc.shape
    elif op.labels == "edited":
        old = list(zip(before.objects.boxes_n4.tolist(), before.objects.labels, strict=True))
        new = list(zip(after.objects.boxes_n4.tolist(), after.objects.labels, strict=True))
        assert [pair for pair in old if pair in new] == [pair for pair in new if pair in old]
        assert_labels_are_true(op, after)
    else:
        assert_paint_lies_under_its_labels(before, after)


def assert_labels_are_true(op: Op, after: Sample) -> None:
    """Of instances that come or go: each box is tight to its mask, each mask bears its class's id,
    and where no model changed the pixels the paint under each box is that of its class.
    """
    objects = after.objects
    if objects.masks_nhw is not None:
        assert np.array_equal(boxes_from_masks(objects.masks_nhw), objects.boxes_n4)
        for label, mask in zip(objects.labels, objects.masks_nhw, strict=True):
            assert after.class_map_hw is not None
            assert set(after.class_map_hw[mask].tolist()) == {SEG_CLASSES.index(label)}
    if op.model_name is None:
        for label, box in zip(objects.labels, objects.boxes_n4, strict=True):
            shares = [paint_share(after.image_hwc, box, paint) for paint in range(len(PAINTS))]
            assert max(shares) > 0.3
            assert label == CLASSES[int(np.argmax(shares)) % 2]


def assert_paint_lies_under_its_labels(before: Sample, after: Sample) -> None:
    """The i-th object had paint i: it still lies in its box, nowhere else, and fills much of it."""
    assert len(after.objects) > 0
    for i, box in enumerate(after.objects.boxes_n4):
        shares = [paint_share(after.image_hwc, box, paint) for paint in range(len(PAINTS))]
        paint = int(np.argmax(shares))
        assert before.objects.labels[paint] == after.objects.labels[i]
        assert shares[paint] > 0.4  # a rectangle at 40 degrees fills half of its upright box
        assert paint_inside(after.image_hwc, box, paint) > 0.95
        if after.objects.masks_nhw is not None:
            assert_mask_is_paint(after, i, paint)


def assert_mask_is_paint(after: Sample, i: int, paint: int) -> None:
    assert after.objects.masks_nhw is not None
    mask, painted_hw = after.objects.masks_nhw[i], paint_of(after.image_hwc) == paint
    assert (mask & painted_hw).sum() / (mask | painted_hw).sum() > 0.85  # a pixel of the rim
    if after.class_map_hw is not None:
        assert set(after.class_map_hw[mask].tolist()) == {
            SEG_CLASSES.index(after.objects.labels[i])
        }


@every_op
@pytest.mark.parametrize("hw", SIZES, ids=lambda hw: f"{hw[1]}x{hw[0]}")
def test_odd_sizes_come_through_or_fail_alone(op: Op, hw: tuple[int, int], models: Models) -> None:
    outcome = applied(op, painted(*hw), models)
    assert outcome is None or isinstance(outcome, SampleError | Sample)
    if isinstance(outcome, Sample):
        assert_consistent(outcome)


@every_op
def test_a_sample_without_any_label_comes_through_or_fails_alone(op: Op, models: Models) -> None:
    outcome = applied(op, painted(boxes=False, class_map=False), models)
    assert outcome is None or isinstance(outcome, SampleError | Sample)
    if isinstance(outcome, Sample):
        assert outcome.instances is None or len(outcome.instances) == 0
        assert outcome.class_map_hw is None


def assert_consistent(sample: Sample) -> None:
    """What a reader may rely on: boxes inside the image, with an area, and class ids that exist."""
    boxes = sample.objects.boxes_n4
    assert (boxes >= 0).all()
    assert (boxes <= [sample.width, sample.height, sample.width, sample.height]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    if sample.class_map_hw is not None:
        assert set(np.unique(sample.class_map_hw).tolist()) <= {0, 1, 2, 255}


@pytest.mark.parametrize(
    "op", [op for op in OPS if getattr(op, "protect", "none") != "none"], ids=name_of
)
def test_protected_pixels_come_out_bit_identical(op: Op, models: Models) -> None:
    before = painted(masks=True)
    after = applied(op, before, models)
    assert isinstance(after, Sample)
    objects = objects_region(before)
    protected = objects if getattr(op, "protect", "") == "objects" else ~objects
    assert np.array_equal(after.image_hwc[protected], before.image_hwc[protected])
    assert not np.array_equal(after.image_hwc[~protected], before.image_hwc[~protected])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    hw=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    boxes=st.booleans(),
    masks=st.booleans(),
    class_map=st.booleans(),
    count=st.integers(0, 4),
    op=st.sampled_from([op for op in OPS if op.model_name is None]),
)
def test_any_size_and_any_labels_come_through_ops_without_a_model(
    hw: tuple[int, int], boxes: bool, masks: bool, class_map: bool, count: int, op: Op
) -> None:
    before = painted(*hw, count, boxes=boxes, masks=masks, class_map=class_map)
    after = applied(op, replace(before, key=f"{hw}{count}"), {})
    if isinstance(after, Sample):
        assert_consistent(after)
        assert (after.instances is None) == (before.instances is None)
        assert (after.class_map_hw is None) == (before.class_map_hw is None)
    else:
        assert after is None or isinstance(after, SampleError)
