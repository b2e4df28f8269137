"""Detectors and segmenters as ONNX, run by onnxruntime.

    files.py       the files that belong to a model: its own, and external data
    layout.py      what goes in and what comes out, told by names, types and shapes alone
    letterbox.py   an image at the network's size, and back
    answers.py     what comes out, in the image's pixels
    session.py     onnxruntime: quiet, bounded, without anybody's code

An image goes through alone, at the size that the file or `size:` fixes; else at its own, which for
all but torchvision's detectors is padded to a multiple of 32. No image is squashed.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.adapters.files import PICKLES, digest_of_files
from pipeline.adapters.naming import check_numbers, names_of
from pipeline.adapters.onnx.layout import Plan
from pipeline.model import Model, ModelCard
from schemas.errors import ModelError
from schemas.models import OnnxModel
from schemas.recipe import digest_of


def describe(spec: OnnxModel) -> ModelCard:
    """The card. Raises ModelError where the file is none, or its layout cannot be told."""
    digest = _digest(spec)
    plan = _plan(spec)
    if plan.count is not None:
        check_numbers(Path(spec.onnx), spec.classes, range(plan.count))
    names = names_of(spec.classes)
    return ModelCard(
        digest,
        frozenset({plan.job}),
        classes=names if plan.job == "detect" else (),
        seg_classes=names if plan.job == "segment" else (),
        about=Path(spec.onnx).name,
    )


def load(spec: OnnxModel, device: str, long_run: bool) -> Model:
    """The model in a session on this device."""
    from pipeline.adapters.onnx.looking import OnnxDetector, OnnxSegmenter
    from pipeline.adapters.onnx.session import opened

    digest, plan = describe(spec).digest, _plan(spec)
    session = opened(Path(spec.onnx), device)
    make = OnnxDetector if plan.job == "detect" else OnnxSegmenter
    return make(session, plan, spec, digest)


def _digest(spec: OnnxModel) -> str:
    """Of all files of the model and of all that the recipe says besides."""
    from pipeline.adapters.onnx.files import files_of

    path = Path(spec.onnx)
    if path.suffix.lower() in PICKLES:
        raise ModelError(
            f"{path}: {path.suffix} files are pickles, which run code when they are read; "
            "export the network as .onnx (torch.onnx.export)"
        )
    if path.suffix.lower() != ".onnx":
        raise ModelError(f"{path}: a model as ONNX must be a .onnx file")
    said = spec.model_dump(mode="json", exclude={"onnx"})
    return digest_of({"said": said, "onnx": digest_of_files(files_of(path))})


def _plan(spec: OnnxModel) -> Plan:
    from pipeline.adapters.onnx.layout import plan_of
    from pipeline.adapters.onnx.session import ports_of

    return plan_of(spec, ports_of(Path(spec.onnx)))
