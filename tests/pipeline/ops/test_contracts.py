"""The label contract of every op, on samples of any kind and size and on the sample datasets.

Models have random weights: what they paint is nonsense, and the labels must be true all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.labels.geometry import boxes_from_masks
from pipeline.labels.regions import free_region
from pipeline.model import Models
from pipeline.op import Op, Peers
from pipeline.ops import CopyPaste, Inpaint, NoiseDenoise, Restyle, SuperResolve, Synthesize
from pipeline.samples import load_samples
from pipeline.seeds import rng_for
from schemas.errors import SampleError
from schemas.recipe import Source
from schemas.sample import IGNORE_ID, Sample
from tests.models import tiny_denoiser, tiny_upscaler
from tests.pipeline.ops.examples import CLASSES, SEG_CLASSES, applied, example_ops, name_of, painted

OPS = example_ops()
BCCD = Source(shards=("data/bccd/train-000000.tar",), classes=("RBC", "WBC", "Platelets"))
NUCLEI = Source(
    shards=("data/nuclei/train-000000.tar",),
    segmentation="seg.png",
    classes=("nucleus",),
    seg_classes=("background", "nucleus"),
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.diffusion.engine.CPU_BATCH_PIXELS", 64 * 64)
        yield tiny(tmp_path_factory, CLASSES, SEG_CLASSES)


def tiny(factory: pytest.TempPathFactory, classes: tuple[str, ...], ids: tuple[str, ...]) -> Models:
    folder = factory.mktemp("models")
    denoiser = tiny_denoiser(folder / "denoiser", classes, ids)
    return {"denoiser": denoiser, "upscaler": tiny_upscaler(folder / "upscaler")}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    hw=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    boxes=st.booleans(),
    masks=st.booleans(),
    class_map=st.booleans(),
    count=st.integers(0, 4),
    op=st.sampled_from(OPS),
)
def test_any_size_and_any_labels_come_out_true_or_fail_by_name(
    hw: tuple[int, int],
    boxes: bool,
    masks: bool,
    class_map: bool,
    count: int,
    op: Op,
    models: Models,
) -> None:
    before = painted(*hw, count, boxes=boxes, masks=masks, class_map=class_map)
    before = replace(before, key=f"{hw}{count}")
    after = applied(op, before, models)
    if not isinstance(after, Sample):
        assert after is None or isinstance(after, SampleError)
        return
    assert_true(op, before, after, ids={0, 1, 2})
    again = applied(op, before, models)
    assert isinstance(again, Sample)
    assert np.array_equal(after.image_hwc, again.image_hwc)


def assert_true(op: Op, before: Sample, after: Sample, ids: set[int]) -> None:
    """What must hold of every outcome of an op."""
    objects, hw = after.objects, (after.height, after.width)
    boxes = objects.boxes_n4
    assert (boxes >= 0).all() and (boxes <= [hw[1], hw[0], hw[1], hw[0]]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    if after.class_map_hw is not None:
        assert set(np.unique(after.class_map_hw).tolist()) <= ids | {IGNORE_ID}
    if objects.masks_nhw is not None and op.labels != "kept":
        assert np.array_equal(boxes_from_masks(objects.masks_nhw), boxes)
    if op.labels == "kept":
        assert np.array_equal(before.objects.boxes_n4, boxes)
        assert before.objects.labels == objects.labels
        assert before.image_hwc.shape == after.image_hwc.shape
    if isinstance(op, NoiseDenoise | Restyle):
        kept = ~free_region(before, op.protect, op.classes)
        assert np.array_equal(before.image_hwc[kept], after.image_hwc[kept])


def real_ops() -> list[Op]:
    """One or two of every kind, as they are used on data with these labels."""
    model, few = "denoiser", {"steps": 1}
    return [
        NoiseDenoise(model=model, steps=1, protect="objects"),
        NoiseDenoise(model=model, steps=1, strength="adaptive"),
        Restyle(model=model, steps=1, protect="background"),
        *(
            Inpaint.model_validate({"model": model, "region": region, **few})
            for region in ("background", "redraw", "remove", "regions")
        ),
        CopyPaste(model=model, steps=1),
        Synthesize(model=model, steps=1),
        SuperResolve(model="upscaler"),
        *(op for op in OPS if op.kind == "classic"),
    ]


@pytest.mark.parametrize("op", real_ops(), ids=name_of)
@pytest.mark.parametrize(("source", "many"), [(BCCD, 3), (NUCLEI, 4)], ids=["bccd", "nuclei"])
def test_the_sample_datasets_come_out_true(
    source: Source, many: int, op: Op, tmp_path_factory: pytest.TempPathFactory
) -> None:
    models = tiny(tmp_path_factory, source.classes or (), source.seg_classes or ())
    samples, _ = load_samples(source, many)
    peers: Peers = {sample.key: sample for sample in samples}
    applied_to = 0
    for sample in samples[:2]:
        draw = op.draw(sample, rng_for(3, sample.key, 0, "real"), peers)
        if draw is None:
            continue
        (after,) = op.apply([sample], [draw], models, peers)
        assert isinstance(after, Sample), after
        assert_true(op, sample, after, ids={0, 1})
        applied_to += 1
    assert applied_to or op.kind == "copy_paste"  # of three smears, none may have a clean outline
