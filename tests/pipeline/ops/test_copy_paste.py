"""copy_paste: who is pasted, where, and what the model may change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.op import Draw, Peers
from pipeline.ops.copy_paste import MOST_HIDDEN, CopyPaste
from pipeline.scene.layout import Placed
from pipeline.scene.paste import paste
from pipeline.seeds import rng_for
from schemas.sample import Sample
from tests.models import tiny_denoiser
from tests.pipeline.scenes import discs

HERE = discs([(30, 40, 12, "a"), (48, 50, 12, "a"), (95, 60, 11, "b")], masks=True, key="here")
THERE = discs([(40, 30, 12, "a"), (90, 60, 12, "b")], masks=True, key="there")
CROWD = discs([(30 + 20 * i, 50, 12, "a") for i in range(4)], masks=True, key="crowd")
PEERS = {sample.key: sample for sample in (HERE, THERE, CROWD)}


def draw_of(op: CopyPaste, number: int, sample: Sample = HERE, peers: Peers = PEERS) -> Draw | None:
    return op.draw(sample, rng_for(number, sample.key, 0, "copy_paste#0"), peers)


def placed(draw: Draw | None) -> list[Placed]:
    return [] if draw is None else [Placed(*values) for values in draw["objects"]]


def test_harmonising_without_a_model_is_a_mistake_in_the_recipe() -> None:
    with pytest.raises(ValidationError, match="harmonise needs a model"):
        CopyPaste()
    assert CopyPaste(harmonise=0).model_name is None


def test_harmonising_changes_the_rim_of_what_is_pasted_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    model = tiny_denoiser(tmp_path_factory.mktemp("tiny"), ("a", "b"))
    op = CopyPaste(model="m", steps=2)
    draw = draw_of(op, 1)
    assert draw is not None
    raw = paste(HERE, placed(draw), PEERS)
    after = op.apply([HERE], [draw], {"m": model}, PEERS)[0]
    assert isinstance(after, Sample)
    changed = (after.image_hwc != raw.sample.image_hwc).any(axis=2)
    assert changed.any()
    assert not (changed & ~raw.rim_hw).any()
    assert np.array_equal(after.objects.boxes_n4, raw.sample.objects.boxes_n4)


def test_a_sample_without_others_around_it_is_left_alone() -> None:
    assert draw_of(CopyPaste(harmonise=0), 1, peers={"here": HERE}) is None
    unlabelled = replace(HERE, instances=None)
    assert draw_of(CopyPaste(harmonise=0), 1, sample=unlabelled) is None


def test_only_the_named_classes_are_pasted_and_never_the_samples_own_objects() -> None:
    op = CopyPaste(harmonise=0, classes=("b",), count=(2, 2))
    drawn = [one for number in range(20) for one in placed(draw_of(op, number))]
    assert drawn
    assert {(one.key, one.i) for one in drawn} == {("there", 1)}


def test_nothing_is_hidden_beyond_the_limit() -> None:
    """Where small objects lie upon large ones in the data, large ones are put where small ones
    are.
    """
    nested = [(40, 50, 14, "a"), (42, 50, 7, "b"), (90, 50, 14, "a"), (88, 48, 7, "b")]
    peers = {"nested": discs(nested, masks=True, key="nested")}
    small = discs([(x, 48, 7, "b") for x in (30, 55, 80, 105)], masks=True, key="small")
    op = CopyPaste(harmonise=0, classes=("a",), count=(3, 3))
    whole = small.objects.masks_nhw
    assert whole is not None
    hidden = 0
    for number in range(20):
        layout = placed(draw_of(op, number, small, peers | {"small": small}))
        after = paste(small, layout, peers).sample.objects
        assert after.masks_nhw is not None
        assert len(after) == len(small.objects) + len(layout)
        left = after.masks_nhw[:4].sum(axis=(1, 2)) / whole.sum(axis=(1, 2))
        hidden += int((left < 1).sum())
        assert (left >= 1 - MOST_HIDDEN - 0.01).all()
    assert hidden > 3


def test_with_boxes_alone_only_clean_outlines_are_pasted() -> None:
    touching = discs([(40, 40, 12, "a"), (62, 40, 12, "a")], slack=2, key="touching")
    alone = discs([(40, 40, 12, "a")], slack=2, key="alone")
    here = discs([(90, 40, 12, "a")], slack=2, key="here")
    op = CopyPaste(harmonise=0)
    peers = {"here": here, "touching": touching}
    assert all(draw_of(op, number, here, peers) is None for number in range(5))
    drawn = placed(draw_of(op, 1, here, peers | {"alone": alone}))
    assert {one.key for one in drawn} == {"alone"}


def test_a_range_that_runs_backwards_is_named() -> None:
    with pytest.raises(ValidationError, match="runs backwards"):
        CopyPaste(harmonise=0, count=(4, 1))
    assert CopyPaste.model_validate({"harmonise": 0, "count": 3}).count == (3, 3)
