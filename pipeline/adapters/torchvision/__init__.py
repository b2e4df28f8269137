"""Detectors and segmenters of torchvision, by the name of their builder, with weights of your own.

How many classes there are is read from the weights; every tensor of the file is held against the
network, on torch's meta device, before a run starts. An image goes through alone, because
torchvision pads a batch to its largest image: what is found must not depend on the neighbours.

The batch norms of networks that were fine-tuned from torchvision's own COCO weights have an epsilon
of 0 in some versions there, and 1e-5 here: nothing in the weights says so, and scores differ in
their fourth digit.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.adapters.files import check_safetensors, digest_of_files
from pipeline.adapters.naming import check_numbers, names_of
from pipeline.model import Model, ModelCard
from schemas.models import TorchvisionModel
from schemas.recipe import digest_of


def describe(spec: TorchvisionModel) -> ModelCard:
    """The card. Raises ModelError where there is no such network, or the weights are not its."""
    from pipeline.adapters.torchvision.building import class_numbers, count_classes, job_of

    job = job_of(spec)
    weights = Path(spec.weights)
    check_safetensors(weights, "a network's weights")
    legal = class_numbers(spec, count_classes(spec))
    check_numbers(weights, spec.classes, legal)
    names = names_of(spec.classes)
    return ModelCard(
        _digest(spec),
        frozenset({job}),
        classes=names if job == "detect" else (),
        seg_classes=names if job == "segment" else (),
        about=spec.torchvision,
    )


def _digest(spec: TorchvisionModel) -> str:
    """Of the weights' bytes and of all that the recipe says besides: it changes what is found."""
    said = spec.model_dump(mode="json", exclude={"weights"})
    return digest_of({"said": said, "weights": digest_of_files([Path(spec.weights)])})


def load(spec: TorchvisionModel, device: str, long_run: bool) -> Model:
    """The network on this device."""
    from pipeline.adapters.torchvision.building import filled, job_of
    from pipeline.adapters.torchvision.looking import TorchvisionDetector, TorchvisionSegmenter

    digest = describe(spec).digest
    net = filled(spec)
    make = TorchvisionDetector if job_of(spec) == "detect" else TorchvisionSegmenter
    return make(net, spec, digest, device)
