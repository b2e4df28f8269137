"""Prompts are encoded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.adapters.diffusers import text
from pipeline.adapters.diffusers.painter import DiffusersPainter
from tests.pipeline.adapters.diffusers.looking import FAMILIES, images, job, loaded


@pytest.mark.parametrize("family", ["sdxl", "flux-dev", "qwen-image"])
def test_every_distinct_prompt_is_encoded_once_and_kept(family: str, tmp_path: Path) -> None:
    painter = loaded(tmp_path, FAMILIES[family])
    asked = count_texts(painter)
    jobs = [job(noise=i, prompt=["a", "b", "a"][i]) for i in range(3)]
    for _ in range(2):
        images(painter, jobs, steps=1)
    encoded = {"sdxl": 2, "flux-dev": 2, "qwen-image": 3}[family]  # Qwen's negative one is apart
    assert painter.loaded.encodings.times == encoded
    assert len(asked) == encoded
    images(painter, [job(prompt="a", hole=True)], steps=1)
    assert painter.loaded.encodings.times == encoded, "image to image and inpainting share them"
    images(painter, [job(prompt="c")], steps=1)
    assert painter.loaded.encodings.times == encoded + 1


def count_texts(painter: DiffusersPainter) -> list[object]:
    """Grows whenever the last text encoder works on a prompt."""
    asked: list[object] = []
    pipeline = painter.any
    encoder = getattr(pipeline, "text_encoder_2", None) or pipeline.text_encoder
    encoder.register_forward_pre_hook(lambda *_: asked.append(None))
    return asked


def test_old_encodings_make_room_and_come_out_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painter = loaded(tmp_path, FAMILIES["sd"])
    monkeypatch.setattr(text, "KEPT_BYTES", 3 * 77 * 16 * 4)  # one prompt with its negative one
    (first,) = images(painter, [job(prompt="a")], steps=1)
    images(painter, [job(prompt="b")], steps=1)
    (again,) = images(painter, [job(prompt="a")], steps=1)
    assert painter.loaded.encodings.times == 3
    assert np.array_equal(first, again)


def test_an_empty_negative_prompt_is_none_to_sdxl_which_shows_zeros_then(tmp_path: Path) -> None:
    painter = loaded(tmp_path, FAMILIES["sdxl"])
    embeds = painter.loaded.encodings(
        prompt=["a"], device="cpu", do_classifier_free_guidance=True, negative_prompt=[""]
    )
    assert embeds[1] is not None
    assert not embeds[1].any()
