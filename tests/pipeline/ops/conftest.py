"""The models that laws over all ops are tested with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.model import Models
from tests.models import tiny_denoiser, tiny_upscaler
from tests.pipeline.ops.examples import CLASSES, SEG_CLASSES


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    """Random weights, and batches of two small images: full ones would only cost time."""
    folder = tmp_path_factory.mktemp("models")
    denoiser = tiny_denoiser(folder / "denoiser", CLASSES, SEG_CLASSES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.diffusion.engine.CPU_BATCH_PIXELS", 2 * 64 * 64)
        yield {"denoiser": denoiser, "upscaler": tiny_upscaler(folder / "upscaler")}
