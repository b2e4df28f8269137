"""Before and after: what is said of a copy, and what is shown where there is nothing to show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.pictures.sheet import Pair, before_after, describe
from schemas.index import AppliedOp
from schemas.sample import Sample
from tests.pipeline.ops.examples import painted
from tests.pipeline.rows import row


def test_an_op_is_described_by_its_strength_and_choices_but_not_by_seeds() -> None:
    draw = '{"guidance":1.23456,"holes":[[1,2,3,4]],"noise":12345,"strength":0.4213}'
    op = AppliedOp("noise_denoise#0", "noise_denoise", "ab", 0.4213, draw)
    assert describe(op) == "noise_denoise: strength 0.42, guidance 1.23, holes (1)"
    assert describe(AppliedOp("classic#1", "classic", None, None, '{"seed":5}')) == "classic"


def test_of_a_long_prompt_the_beginning_is_said() -> None:
    op = AppliedOp("noise_denoise#0", "noise_denoise", "ab", None, f'{{"prompt":"{"a " * 900}"}}')
    said = describe(op)
    assert said.startswith("noise_denoise: prompt a a a")
    assert len(said) < 100


def test_an_op_is_named_by_what_its_recipe_sets_it_to_do() -> None:
    recipe = [
        {"kind": "noise_denoise", "model": "a", "protect": "none", "steps": 3},
        {"kind": "inpaint", "model": "a", "region": "redraw"},
    ]
    assert describe(AppliedOp("inpaint#1", "inpaint", "ab", 1.0, "{}"), recipe) == (
        "inpaint redraw: strength 1.00"
    )
    assert describe(AppliedOp("noise_denoise#0", "noise_denoise", "ab", None, "{}"), recipe) == (
        "noise_denoise"
    )


def test_every_copy_has_its_row_also_one_that_failed() -> None:
    sample = painted(256, 256)
    kept = Pair(row("a"), sample, sample)
    failed = Pair(row("b", "failed"), sample, None)
    unreadable = Pair(row("c", "failed"), None, None)
    one = before_after([kept], "title")
    assert before_after([kept, kept], "title").height > one.height
    assert before_after([kept, failed, unreadable], "title", "note").height > 2 * one.height


def test_dark_images_are_shown_brighter_and_bright_ones_as_they_are() -> None:
    def brightness(sample: Sample) -> int:
        sheet = np.asarray(before_after([Pair(row("a"), sample, sample)], "title"))
        return int(np.bincount(sheet.ravel())[:255].argmax())  # the paper is 255

    dark = Sample("k", np.full((256, 256, 3), 40, np.uint8), None, None)
    assert brightness(dark) == 200
    bright = replace(dark, image_hwc=dark.image_hwc + np.uint8(80))
    assert brightness(bright) == 120
