"""Palettes: the tone of one sample, at the layout of another."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.diffusion.tone import Tone
from pipeline.scene.palette import palette
from tests.pipeline.scenes import discs

ONE = discs([(40, 40, 20, "a")], ground=20, bright=120, class_map=True)
TWO = discs([(40, 40, 20, "a"), (90, 50, 20, "a")], ground=90, bright=91, class_map=True)


def test_at_its_own_layout_a_sample_keeps_its_tone() -> None:
    made, true = (Tone.of(image, "sqrt") for image in (palette(ONE, ONE), ONE.image_hwc))
    assert made.mean == pytest.approx(true.mean, rel=0.01)
    assert made.deviation == pytest.approx(true.deviation, rel=0.01)
    assert made.gray


def test_more_objects_change_the_tone_as_they_would_the_image() -> None:
    made = palette(TWO, ONE)
    true = discs([(40, 40, 20, "a"), (90, 50, 20, "a")], ground=20, bright=120)
    assert float(made.mean()) == pytest.approx(float(true.image_hwc.mean()), rel=0.02)
    assert float(made.std()) == pytest.approx(float(true.image_hwc.std()), rel=0.02)


def test_objects_without_a_box_do_not_ask_for_more_of_them() -> None:
    seen = discs([(40, 40, 20, "a"), (100, 50, 20, "a")])
    boxed = discs([(40, 40, 20, "a")])
    unlabelled = type(seen)("half", seen.image_hwc, boxed.instances, None)
    made = palette(boxed, unlabelled)
    assert np.abs(made.astype(int) - palette(boxed, boxed)).mean() < 4
