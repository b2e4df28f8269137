"""`restyle`: who gives the look, and where it arrives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.diffusion.native import NativeNet
from pipeline.labels.regions import free_region
from pipeline.op import Peers
from pipeline.ops import Restyle
from pipeline.scene.look import restyled
from pipeline.seeds import rng_for
from schemas.errors import SampleError
from schemas.sample import Sample
from tests.models import tiny_denoiser
from tests.pipeline.ops.examples import CLASSES, SEG_CLASSES, painted


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> NativeNet:
    return tiny_denoiser(tmp_path_factory.mktemp("m"), CLASSES, SEG_CLASSES)


def dark(key: str, by: int = 2) -> Sample:
    sample = painted(40, 52, 2, key=key)
    return replace(sample, image_hwc=sample.image_hwc // by)


def drawn_donors(sample: Sample, peers: Peers) -> set[str]:
    draws = [
        Restyle(model="m").draw(sample, rng_for(1, "a", copy, "x"), peers) for copy in range(9)
    ]
    return {str(draw["donor"]) for draw in draws if draw is not None}


def test_the_donor_is_another_sample_and_the_most_different_of_a_few() -> None:
    own = painted(key="own")
    like, other = painted(key="like"), dark("other")
    assert drawn_donors(own, {s.key: s for s in (own, like, other)}) == {"other"}
    many = {s.key: s for s in [own, *(dark(f"d{i}", 2 + i) for i in range(6))]}
    assert len(drawn_donors(own, many)) > 1


def test_a_sample_alone_in_its_chunk_stays_as_it_is() -> None:
    own = painted(key="own")
    assert drawn_donors(own, {"own": own}) == set()
    deep = Sample("deep", np.zeros((8, 8, 1), np.uint16), None, None)
    assert drawn_donors(own, {"own": own, "deep": deep}) == set()


@pytest.mark.parametrize("protect", ["none", "objects", "background"])
def test_the_look_arrives_where_pixels_may_change_and_nowhere_else(
    protect: str, model: NativeNet
) -> None:
    own, donor = painted(key="own", masks=True), dark("donor")
    op = Restyle.model_validate({"model": "m", "protect": protect})
    draw = {"strength": 0.0, "noise": 1, "donor": "donor"}
    (made,) = op.apply([own], [draw], {"m": model}, {"own": own, "donor": donor})
    assert isinstance(made, Sample)
    free = free_region(own, op.protect, None)
    wanted = restyled(own, donor, model.config.curve)
    assert np.array_equal(made.image_hwc[free], wanted[free])
    assert np.array_equal(made.image_hwc[~free], own.image_hwc[~free])
    assert np.abs(wanted.astype(int) - own.image_hwc).mean() > 20


def test_a_donor_that_is_gone_fails_the_sample_alone(model: NativeNet) -> None:
    own, donor = painted(key="own"), dark("donor")
    draws = [{"strength": 0.2, "noise": 1, "donor": key} for key in ("gone", "donor")]
    made = Restyle(model="m", steps=1).apply(
        [own, own], draws, {"m": model}, {"own": own, "donor": donor}
    )
    assert isinstance(made[0], SampleError) and made[0].slug == "no_donor"
    assert isinstance(made[1], Sample)
