"""Files of models that are not what they are called, or not all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.adapters.files import check_safetensors
from pipeline.adapters.native import describe
from schemas.errors import ModelError
from schemas.models import NativeModel
from tests.models import tiny_denoiser


def test_weights_that_were_cut_short_are_told_before_a_run(tmp_path: Path) -> None:
    """A dry run describes a model, and loads none."""
    folder = tmp_path / "model"
    tiny_denoiser(folder)
    assert describe(NativeModel(native=str(folder))).does
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(
        ModelError, match=r"model.safetensors: the weights are not safetensors, or damaged: .*again"
    ):
        describe(NativeModel(native=str(folder)))


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("net.pth", b"", "files are pickles"),
        ("net.onnx", b"", "must be a .safetensors file"),
        ("net.safetensors", b"PK\3\4 a zip", "is none"),
        ("net.safetensors", b"\xff\0\0\0\0\0\0\0{", "or damaged"),
    ],
)
def test_what_is_no_safetensors_file_is_said(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelError, match=says):
        check_safetensors(tmp_path / name, "the weights")
