"""`protect` and `classes`: what an op may not touch comes out bit-identical, object by object."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from pipeline.labels.regions import free_region, of_classes
from pipeline.model import Models
from pipeline.op import Draw, Op
from pipeline.ops import AnyOp, Inpaint
from pipeline.ops.noise_denoise import NoiseDenoise
from pipeline.seeds import rng_for
from schemas.errors import SampleError
from schemas.sample import BoolArray, Instances, Sample
from tests.models import tiny_denoiser
from tests.pipeline.ops.examples import CLASSES, SEG_CLASSES, drawn, painted, peers_of

ADAPTER: TypeAdapter[Op] = TypeAdapter(AnyOp)
KINDS = ("noise_denoise", "restyle", "inpaint")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.diffusion.engine.CPU_BATCH_PIXELS", 64 * 64)
        yield {"denoiser": tiny_denoiser(folder, CLASSES, SEG_CLASSES)}


def op_of(kind: str, **fields: object) -> Op:
    region = {"region": "regions", "area": 0.9} if kind == "inpaint" else {"strength": 0.7}
    return ADAPTER.validate_python(
        {"kind": kind, "model": "denoiser", "steps": 1, **region, **fields}
    )


def changed(op: Op, sample: Sample, models: Models) -> BoolArray:
    """Where the op changes pixels."""
    draw = drawn(op, sample)
    assert isinstance(draw, dict)
    (after,) = op.apply([sample], [draw], models, peers_of(sample))
    assert isinstance(after, Sample)
    return np.asarray((after.image_hwc != sample.image_hwc).any(axis=2))


def boxes_of(sample: Sample, *labels: str) -> BoolArray:
    region = np.zeros((sample.height, sample.width), bool)
    for (x0, y0, x1, y1), label in zip(
        sample.objects.boxes_n4.astype(int), sample.objects.labels, strict=True
    ):
        region[y0:y1, x0:x1] |= label in labels
    return region


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protect", ["none", "background"])
@pytest.mark.parametrize("mine", CLASSES)
def test_only_objects_of_the_classes_are_touched(
    kind: str, protect: str, mine: str, models: Models
) -> None:
    sample = painted(60, 90)
    (other,) = set(CLASSES) - {mine}
    changes = changed(op_of(kind, protect=protect, classes=mine), sample, models)
    background = ~boxes_of(sample, *CLASSES)
    assert changes[boxes_of(sample, mine)].mean() > 0.5
    assert not changes[boxes_of(sample, other)].any()
    assert changes[background].any() == (protect == "none")


@pytest.mark.parametrize("kind", KINDS)
def test_protecting_objects_leaves_the_background(kind: str, models: Models) -> None:
    sample = painted(60, 90)
    changes = changed(op_of(kind, protect="objects"), sample, models)
    assert not changes[boxes_of(sample, *CLASSES)].any()
    assert changes[~boxes_of(sample, *CLASSES)].mean() > 0.5


def overlapping() -> Sample:
    boxes = np.array([[2.0, 2, 20, 20], [10, 10, 30, 30], [40, 5, 50, 15]])
    image = np.zeros((40, 60, 3), np.uint8)
    return Sample("k", image, Instances(boxes, ("disc", "rod", "disc")), None)


@pytest.mark.parametrize("protect", ["none", "background"])
def test_what_objects_share_belongs_to_the_one_that_may_not_be_touched(protect: str) -> None:
    free = free_region(overlapping(), protect, ("disc",))  # type: ignore[arg-type]
    assert free[5, 5] and free[10, 45]
    assert not free[12, 12] and not free[25, 25]
    assert free[35, 55] == (protect == "none")


@pytest.mark.parametrize("region", ["redraw", "remove"])
def test_redrawn_and_removed_are_objects_of_the_classes_only(region: str) -> None:
    sample = painted(60, 90)
    picked = set()
    for copy in range(12):
        op = op_of("inpaint", region=region, classes=["disc"], objects=[0.1, 1])
        draw = op.draw(sample, rng_for(1, "k", copy, "x"), {})
        assert draw is not None
        picked |= set(draw["objects"])
    assert {sample.objects.labels[i] for i in picked} == {"disc"}
    assert len(picked) == 2
    assert op_of("inpaint", region=region, classes="cube").draw(sample, rng(), {}) is None


def rng() -> np.random.Generator:
    return rng_for(1, "k", 0, "x")


def test_the_share_of_objects_is_of_those_that_may_be_touched() -> None:
    sample = painted(60, 90, 4)
    op = op_of("inpaint", region="redraw", classes=["disc"], objects=1.0)
    draw = op.draw(sample, rng(), {})
    assert draw is not None and draw["objects"] == [0, 2]


def test_holes_cover_a_share_of_what_may_change() -> None:
    sample = painted(60, 90)
    inside = boxes_of(sample, "rod")
    op = op_of("inpaint", protect="background", classes="rod", area=0.6)
    draw = op.draw(sample, rng(), {})
    assert isinstance(op, Inpaint) and draw is not None
    covered = np.zeros_like(inside)
    for x0, y0, x1, y1 in draw["holes"]:
        covered[y0:y1, x0:x1] = True
    assert covered[inside].mean() >= 0.6
    bare = painted(60, 90, boxes=False, class_map=False)
    assert op.draw(bare, rng(), {}) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_id_map_alone_does_not_say_which_objects_are_of_a_class(kind: str) -> None:
    sample = painted(60, 90, boxes=False)
    with pytest.raises(SampleError, match="no_boxes"):
        op_of(kind, classes=["disc"]).draw(sample, rng(), peers_of(sample))
    assert isinstance(drawn(op_of(kind, protect="objects"), sample), dict)
    assert of_classes(painted(60, 90, boxes=False, class_map=False), ("disc",)) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"kind": "noise_denoise", "protect": "objects", "classes": "disc"},
            "leave one of the two",
        ),
        ({"kind": "restyle", "protect": "objects", "classes": "disc"}, "leave one of the two"),
        ({"kind": "inpaint", "region": "background", "classes": "disc"}, "touches no object"),
        (
            {"kind": "inpaint", "region": "redraw", "protect": "objects"},
            "already says which pixels",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(fields: Draw, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ADAPTER.validate_python({"model": "denoiser", **fields})


def test_adaptive_is_a_strength_and_other_words_are_not() -> None:
    assert NoiseDenoise(model="m", strength="adaptive").strength == "adaptive"
    assert op_of("noise_denoise", strength=0.3) == op_of("noise_denoise", strength=[0.3, 0.3])
    with pytest.raises(ValidationError):
        op_of("noise_denoise", strength="high")
