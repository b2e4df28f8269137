"""The laws that every gate in `AnyGate` obeys, and those of each kind."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from pipeline.gate import Gate, GateContext, Verdict
from pipeline.gates import AnyGate, Fidelity
from schemas.sample import Sample
from tests.pipeline.gates.seers import PaintDetector, PaintFitter, PaintSegmenter
from tests.pipeline.ops.examples import SEG_CLASSES, painted

EXAMPLES: list[dict[str, object]] = [
    {"kind": "box_area", "min_area": 30, "max_share": 0.9},
    {"kind": "diversity", "min_distance": 0.01},
    {"kind": "exposure"},
    {"kind": "fidelity", "psnr": [10, 60], "ssim": [0.1, 0.99], "patches": [0, 500]},
    {"kind": "near_duplicate", "max_source": 0.999, "max_copies": 0.99},
    {"kind": "sharpness", "ratio": [0.3, 20]},
    {"kind": "label_agreement", "model": "detector"},
    {"kind": "label_agreement", "model": "segmenter", "min_miou": 0.9},
    {"kind": "label_agreement", "model": "denoiser", "min_fits": 0.7, "revert": False},
]
MODELS = {"detector": PaintDetector(), "segmenter": PaintSegmenter(), "denoiser": PaintFitter()}
GATES: list[Gate] = [TypeAdapter(AnyGate).validate_python(spec) for spec in EXAMPLES]


def name_of(gate: Gate) -> str:
    return f"{gate.kind}-{gate.model_name}" if gate.model_name else gate.kind


every_gate = pytest.mark.parametrize("gate", GATES, ids=name_of)


def judged(gate: Gate, sources: list[Sample], samples: list[Sample]) -> list[Verdict]:
    """By models that see the paint itself."""
    shapes = [(a.image_hwc.shape, b.image_hwc.shape) for a, b in zip(sources, samples, strict=True)]
    context = GateContext(SEG_CLASSES, tuple(a == b for a, b in shapes))
    return gate.judge(sources, samples, MODELS, context)


def noisy(sample: Sample, sigma: float) -> Sample:
    noise = np.random.default_rng(1).normal(0, sigma, sample.image_hwc.shape)
    image = np.clip(sample.image_hwc + noise, 0, 255).astype(np.uint8)
    return replace(sample, image_hwc=image)


def test_every_kind_of_gate_has_an_example() -> None:
    kinds = {
        get_args(gate.model_fields["kind"].annotation)[0] for gate in get_args(get_args(AnyGate)[0])
    }
    assert kinds == {gate.kind for gate in GATES}


@every_gate
def test_a_verdict_is_countable_and_its_scores_are_numbers(gate: Gate) -> None:
    source = painted()
    samples = [source, noisy(source, 20), noisy(source, 200), painted(20, 30)]
    verdicts = judged(gate, [source] * len(samples), samples)
    assert len(verdicts) == len(samples)
    for verdict in verdicts:
        assert verdict.kept == (verdict.reason is None)
        assert verdict.reason is None or verdict.reason.isidentifier()
        assert all(math.isfinite(score) for score in verdict.scores.values())


@every_gate
def test_thresholds_change_no_score_and_scores_are_all_that_decides(gate: Gate) -> None:
    source = painted()
    samples = [source, noisy(source, 20), noisy(source, 200), painted(20, 30)]
    for one in judged(gate, [source] * len(samples), samples):
        written: dict[str, float] = json.loads(json.dumps(one.scores))
        assert gate.decide(written) == one.reason
        for name in written:  # one that is missing is not judged
            rest = {other: score for other, score in written.items() if other != name}
            assert gate.decide(rest) is None or one.reason is not None
    assert gate.decide({}) is None


@every_gate
def test_a_sample_is_judged_alone(gate: Gate) -> None:
    sources = [painted(), painted(30, 30)]
    samples = [noisy(source, 20) for source in sources]
    together = judged(gate, sources, samples)
    assert together == [judged(gate, [a], [b])[0] for a, b in zip(sources, samples, strict=True)]


@every_gate
def test_a_gate_survives_its_way_through_a_recipe(gate: Gate) -> None:
    dumped = json.loads(json.dumps(gate.model_dump(mode="json")))
    assert TypeAdapter(AnyGate).validate_python(dumped) == gate


def test_fidelity_names_the_measure_that_is_out_of_range() -> None:
    source = painted()
    close, far = noisy(source, 3), noisy(source, 90)
    by_psnr = judged(Fidelity(psnr=(20, 50)), [source] * 3, [source, close, far])
    assert [v.reason for v in by_psnr] == ["psnr_out_of_range", None, "psnr_out_of_range"]
    by_ssim = judged(Fidelity(ssim=(0.5, 0.999)), [source] * 3, [source, close, far])
    assert [v.reason for v in by_ssim] == ["ssim_out_of_range", None, "ssim_out_of_range"]
    assert by_psnr[0].scores == by_ssim[0].scores  # whatever the thresholds are


def test_fidelity_lets_another_size_pass_without_a_score() -> None:
    (verdict,) = judged(Fidelity(psnr=(99, 100)), [painted()], [painted(20, 30)])
    assert verdict.kept
    assert verdict.scores == {}


@pytest.mark.parametrize(("side", "measured"), [(6, False), (7, True), (13, True), (25, True)])
def test_fidelity_measures_patches_wherever_one_fits(side: int, measured: bool) -> None:
    gate, source = Fidelity(psnr=(0, 100)), painted(side, 40)
    same, changed = judged(gate, [source] * 2, [source, noisy(source, 40)])
    assert ("patches" in same.scores) == measured
    assert same.scores.get("patches", 0) == 0
    assert not measured or changed.scores["patches"] > 100


@pytest.mark.parametrize("spec", [{}, {"psnr": [30, 10]}, {"ssim": [0.1]}])
def test_fidelity_that_judges_nothing_or_backwards_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Fidelity.model_validate(spec)
