"""Planted faults that need no model: each gate catches its own, and passes the untouched sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.gate import Gate, GateContext, Verdict
from pipeline.gates import BoxArea, Diversity, Exposure, Fidelity, NearDuplicate, Sharpness
from schemas.sample import ByteArray, ImageArray, Instances, Sample
from tests.pipeline.known_images import known_images
from tests.pipeline.ops.examples import deep, painted

SOURCE = painted(96, 128)
DARK = replace(SOURCE, image_hwc=SOURCE.rgb_hwc // 16)
"""As fluorescence is: mean 7 of 255."""
BLACK = replace(SOURCE, image_hwc=np.zeros_like(SOURCE.image_hwc))
PLAIN = replace(SOURCE, image_hwc=np.full_like(SOURCE.image_hwc, 90))


def judged(
    gate: Gate, sample: Sample, source: Sample = SOURCE, known: Sequence[ImageArray] | None = None
) -> Verdict:
    images = None if known is None else known_images(known)
    return gate.judge([source], [sample], {}, GateContext((), (True,), images))[0]


def shown(image_hwc: ImageArray, sample: Sample = SOURCE) -> Sample:
    return replace(sample, image_hwc=image_hwc, class_map_hw=None)


def blurred(sample: Sample, sigma: float) -> Sample:
    return shown(np.asarray(cv2.GaussianBlur(sample.rgb_hwc, (0, 0), sigma), np.uint8))


def scaled(sample: Sample, gain: float, lift: float = 0) -> Sample:
    return shown(np.clip(sample.image_hwc * gain + lift, 0, 255).astype(np.uint8))


def noisy(sample: Sample, sigma: float, seed: int = 1) -> Sample:
    noise = np.random.default_rng(seed).normal(0, sigma, sample.image_hwc.shape)
    return shown(np.clip(sample.image_hwc + noise, 0, 255).astype(np.uint8))


def boxed(*boxes: Sequence[float]) -> Sample:
    instances = Instances(np.array(boxes, float).reshape(-1, 4), ("disc",) * len(boxes))
    return replace(SOURCE, instances=instances)


def copies(*samples: Sample) -> list[Sample]:
    """Copies 0, 1, 2, ... of the same source."""
    return [
        replace(sample, lineage=replace(sample.lineage, copy=copy))
        for copy, sample in enumerate(samples)
    ]


def together(gate: Gate, samples: Sequence[Sample]) -> list[str | None]:
    context = GateContext((), (True,) * len(samples))
    return [v.reason for v in gate.judge([SOURCE] * len(samples), samples, {}, context)]


EVERY: list[Gate] = [
    BoxArea(),
    Diversity(),
    Exposure(),
    Fidelity(patches=(0, 100)),
    NearDuplicate(),
    Sharpness(),
]


@pytest.mark.parametrize("gate", EVERY, ids=lambda gate: str(gate.kind))
@pytest.mark.parametrize("source", [SOURCE, DARK, deep(SOURCE), BLACK, PLAIN, boxed((3, 3, 5, 4))])
def test_the_untouched_sample_passes(gate: Gate, source: Sample) -> None:
    assert judged(gate, source, source, [source.image_hwc]).reason is None


CAUGHT: dict[str, tuple[Gate, Sample, Sample, str]] = {
    "blurred": (Sharpness(), SOURCE, blurred(SOURCE, 1.5), "blurred"),
    "noise": (Sharpness(ratio=(0.3, 3)), SOURCE, noisy(SOURCE, 60), "too_sharp"),
    "black": (Exposure(), SOURCE, BLACK, "too_dark"),
    "black, and was nearly": (Exposure(), DARK, BLACK, "too_dark"),
    "veil over darkness": (Exposure(), DARK, scaled(DARK, 1, 40), "too_bright"),
    "washed out": (Exposure(), SOURCE, scaled(SOURCE, 0.3, 75), "washed_out"),
    "burnt out": (
        Exposure(luma_ratio=None, contrast_ratio=None),
        SOURCE,
        scaled(SOURCE, 3.0),
        "clipped_white",
    ),
    "by its own brightness": (Exposure(luma=(0.2, 0.3)), SOURCE, SOURCE, "too_bright"),
    "tiny": (BoxArea(), SOURCE, boxed((10, 10, 13, 13), (30, 30, 60, 60)), "box_too_small"),
    "narrow": (BoxArea(), SOURCE, boxed((10, 10, 60, 11)), "box_too_narrow"),
    "hardly inside": (BoxArea(), SOURCE, boxed((-40, 10, 1, 60)), "box_too_narrow"),
    "a small share": (BoxArea(min_share=0.1), SOURCE, boxed((0, 0, 9, 9)), "box_too_small"),
    "huge": (BoxArea(max_share=0.9), SOURCE, boxed((0, 0, 128, 96)), "box_too_large"),
    "other texture": (
        Fidelity(patches=(0, 100)), SOURCE, noisy(SOURCE, 60), "patches_out_of_range",
    ),
    "untouched": (NearDuplicate(max_source=0.9999), SOURCE, SOURCE, "like_source"),
    "only mirrored": (
        NearDuplicate(max_source=0.9999), SOURCE, shown(SOURCE.image_hwc[:, ::-1]), "like_source",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CAUGHT)
def test_what_is_planted_is_caught(case: str) -> None:
    gate, source, sample, reason = CAUGHT[case]
    assert judged(gate, sample, source).reason == reason


def test_a_small_change_passes_where_its_source_does_not() -> None:
    gate = NearDuplicate(max_source=0.9999)
    assert judged(gate, noisy(SOURCE, 12)).kept


def test_a_dim_image_is_as_sharp_as_a_bright_one() -> None:
    assert judged(Sharpness(), scaled(SOURCE, 0.5)).scores["ratio"] == pytest.approx(1, abs=0.05)


def test_neither_an_enlarged_copy_nor_a_crop_nor_a_turned_one_is_blurred() -> None:
    image = SOURCE.rgb_hwc
    large: ByteArray = np.asarray(cv2.resize(image, (256, 192), interpolation=cv2.INTER_CUBIC))
    for copy in (large, image[20:60, 30:90], np.rot90(image)):
        assert judged(Sharpness(), shown(copy)).kept
        assert (
            judged(Sharpness(), blurred(shown(np.ascontiguousarray(copy)), 3)).reason == "blurred"
        )


@pytest.mark.parametrize("gate", [Exposure(), Sharpness()], ids=lambda gate: str(gate.kind))
def test_another_picture_is_not_held_against_its_source(gate: Gate) -> None:
    context = GateContext((), (False, False), new_pictures=(True, False))
    new, old = gate.judge([DARK] * 2, [SOURCE] * 2, {}, context)
    own = {"exposure": {"luma", "black", "white"}, "sharpness": {"sharpness"}}[gate.kind]
    assert new.kept
    assert set(new.scores) == own < set(old.scores)


def test_a_box_that_was_as_small_before_is_not_held_against_the_copy() -> None:
    small = boxed((10, 10, 12, 12), (30, 30, 60, 60))
    assert judged(BoxArea(), small, small).scores["area"] == 4
    assert judged(BoxArea(), small, small).kept
    smaller = boxed((10, 10, 11, 11))
    assert judged(BoxArea(), smaller, small).reason == "box_too_small"


def test_without_boxes_there_is_nothing_to_judge() -> None:
    assert judged(BoxArea(), boxed()) == Verdict(None, {})


@pytest.mark.parametrize(
    ("gate", "reason"), [(Diversity(), "too_alike"), (NearDuplicate(), "like_copy")]
)
def test_of_copies_that_are_equal_the_first_passes_and_no_other(gate: Gate, reason: str) -> None:
    one, other = noisy(SOURCE, 20, seed=1), noisy(SOURCE, 20, seed=2)
    expected = [None, None, reason, reason]
    samples = copies(one, other, one, other)
    assert together(gate, samples) == expected
    assert together(gate, samples[::-1]) == expected[::-1]  # whatever their order
    alone = together(gate, samples[2:3])
    assert alone == [None]  # nothing to compare with, and no score


def test_copies_of_other_sources_are_not_compared() -> None:
    one = noisy(SOURCE, 20)
    samples = [replace(one, key=key, lineage=replace(one.lineage, copy=2)) for key in "ab"]
    assert together(Diversity(), samples) == together(NearDuplicate(), samples) == [None, None]


def test_a_dim_copy_is_judged_as_a_bright_one() -> None:
    scores = [
        Diversity().judge([source] * 2, copies(source, changed), {}, GateContext((), (True,) * 2))
        for source, changed in ((SOURCE, noisy(SOURCE, 32)), (DARK, noisy(DARK, 2)))
    ]
    bright, dim = (verdicts[1].scores["distance"] for verdicts in scores)
    assert dim == pytest.approx(bright, rel=0.5)


def field(seed: int, spots: int = 12) -> ByteArray:
    """A smear of its own."""
    rng = np.random.default_rng(seed)
    image: ByteArray = rng.integers(60, 90, (96, 128, 3), dtype=np.uint8)
    for x, y, r in zip(*(rng.integers(4, n, spots) for n in (124, 92, 16)), strict=True):
        cv2.circle(image, (int(x), int(y)), int(r), (200, 120, 160), -1)
    return image


FIELDS = [field(seed) for seed in range(6)]
OWN, OTHER = (shown(image) for image in FIELDS[:2])


def jpeg(image: ByteArray) -> ByteArray:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


DISGUISES = {
    "as it is": OTHER.rgb_hwc,
    "recompressed": jpeg(OTHER.rgb_hwc),
    "mirrored and turned": np.rot90(OTHER.rgb_hwc[:, ::-1]),
    "half the size": OTHER.rgb_hwc[::2, ::2],
    "brighter": scaled(OTHER, 1.2, 5).rgb_hwc,
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_another_training_image_is_caught_in_disguise(disguise: str) -> None:
    verdict = judged(NearDuplicate(), shown(DISGUISES[disguise]), OWN, FIELDS)
    assert verdict.reason == "like_other_source"
    assert 0.95 < verdict.scores["others"] <= 1


def test_a_copy_of_its_own_source_reproduces_no_other_image() -> None:
    for sample in (OWN, noisy(OWN, 10), shown(OWN.rgb_hwc[::-1])):
        verdict = judged(NearDuplicate(), sample, OWN, FIELDS)
        assert (verdict.reason, verdict.scores["others"]) == (None, 0)


def test_a_neighbouring_frame_is_reproduced_only_by_what_comes_nearer_to_it() -> None:
    """Two frames of one scene, and a copy of the first."""
    first = OWN.rgb_hwc
    second = np.roll(first, 1, axis=1)
    known = [first, second, *FIELDS[2:]]
    gate = NearDuplicate(max_others=0.8)
    assert judged(gate, noisy(OWN, 10), OWN, known).kept
    assert judged(gate, shown(second), OWN, known).reason == "like_other_source"


def test_what_is_uniform_is_like_nothing() -> None:
    known = [BLACK.image_hwc, PLAIN.image_hwc, *FIELDS]
    assert judged(NearDuplicate(), PLAIN, BLACK, known) == Verdict(None, {})
    assert judged(NearDuplicate(), OTHER, BLACK, known).reason == "like_other_source"
    assert judged(NearDuplicate(), BLACK, OTHER, known).scores == {}


def test_without_the_images_of_the_source_there_is_no_score_of_them() -> None:
    assert set(judged(NearDuplicate(), OTHER, OWN).scores) == {"source"}
    assert NearDuplicate().needs_known
    assert not NearDuplicate(max_others=None).needs_known
