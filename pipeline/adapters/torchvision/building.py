"""torchvision's builders: which there are, and whether weights fit the network of one.

Nothing is fetched: a builder gets `weights=None` and `weights_backbone=None`, whatever a recipe
says. Shapes are compared on the meta device, where a network of any size takes no memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue

from pipeline.problems import listed, nearest
from schemas.errors import ModelError
from schemas.models import TorchvisionModel

if TYPE_CHECKING:
    from typing import Literal

    from torch import nn

Shapes = dict[str, tuple[int, ...]]

OURS: Final = {
    "weights": "stand beside it, as weights:",
    "weights_backbone": "are never fetched; weights: has them all",
    "pretrained": "are never fetched",
    "pretrained_backbone": "are never fetched",
    "progress": "is for what is fetched",
    "num_classes": "is read from the weights",
    "image_mean": "stands beside it, as mean:",
    "image_std": "stands beside it, as deviation:",
}
"""Arguments of builders that are no settings, and why."""

WITH_BACKGROUND: Final = ("fasterrcnn_", "maskrcnn_", "keypointrcnn_", "ssd")
"""Beginnings of names: these detectors keep class 0 for the background and never report it."""

COUNTERS: Final = ".num_batches_tracked"
"""How long a batch norm was trained: absent where it was frozen, and nothing looks at it."""

AUXILIARY: Final = "aux_classifier."
"""A second head of segmenters that is there for training alone."""


def job_of(spec: TorchvisionModel) -> Literal["detect", "segment"]:
    """What this network does; ModelError where there is none, or it does something else."""
    from torchvision.models import detection, list_models, segmentation

    name = spec.torchvision
    detectors, segmenters = list_models(module=detection), list_models(module=segmentation)
    if name in detectors:
        return "detect"
    if name in segmenters:
        return "segment"
    legal = f"detectors are {listed(detectors)}; segmenters {listed(segmenters)}"
    if name in list_models():
        raise ModelError(f"torchvision: {name} neither detects nor segments; {legal}")
    near = nearest(name, [*detectors, *segmenters])
    raise ModelError(f"torchvision: has no network {name}; {near[0] if near else legal}")


def class_numbers(spec: TorchvisionModel, count: int) -> range:
    """The numbers of its classes that can come out."""
    return range(int(spec.torchvision.startswith(WITH_BACKGROUND)), count)


def count_classes(spec: TorchvisionModel) -> int:
    """How many classes the weights are for, the background counted; ModelError with the first
    tensor that does not fit the network.
    """
    return count_in(shapes_in(Path(spec.weights)), spec)


def count_in(given: Shapes, spec: TorchvisionModel) -> int:
    """The same of shapes: two networks that differ in nothing else tell where the number stands."""
    two, three = (expected_shapes(spec, count) for count in (2, 3))
    telling = next(name for name in two if two[name] != three[name])
    count = 2
    if given.get(telling):
        per_class = three[telling][0] - two[telling][0]
        count = max(1, round(given[telling][0] / per_class))
    _check_fit(spec, given, expected_shapes(spec, count))
    return count


def _check_fit(spec: TorchvisionModel, given: Shapes, expected: Shapes) -> None:
    where = f"{spec.weights}: does not fit {spec.torchvision}"
    for name, shape in expected.items():
        if name not in given:
            if name.endswith(COUNTERS):
                continue
            raise ModelError(f"{where}: the tensor {name} {list(shape)} is missing")
        if given[name] != shape:
            raise ModelError(f"{where}: {name} is {list(given[name])}, the network's {list(shape)}")
    for name in given:
        if name not in expected and not name.startswith(AUXILIARY):
            raise ModelError(f"{where}: the network has no tensor {name} {list(given[name])}")


def filled(spec: TorchvisionModel) -> nn.Module:
    """The network with its weights, on the CPU, in evaluation. torch's generator stays as it is."""
    import torch
    from safetensors.torch import load_file

    with torch.random.fork_rng(devices=[]):
        net = _built(spec.torchvision, _settings(spec), count_classes(spec))
    # Every name and shape was compared: what may differ is no part of the evaluation.
    net.load_state_dict(load_file(spec.weights), strict=False)
    return net.eval().requires_grad_(False)


def expected_shapes(spec: TorchvisionModel, count: int) -> Shapes:
    """Of every tensor of the network with so many classes."""
    shaping = {name: value for name, value in _settings(spec).items() if name not in OURS}
    settings = json.dumps(shaping, sort_keys=True)  # image_mean and image_std shape nothing
    return _shapes(spec.torchvision, settings, count)


@lru_cache(maxsize=16)
def _shapes(name: str, settings: str, count: int) -> Shapes:
    """Of a network on the meta device. To make one takes up to half a second, and a run asks for
    the same one again and again: cached, settings as JSON.
    """
    import torch

    with torch.device("meta"):
        net = _built(name, json.loads(settings), count)
    return {key: tuple(tensor.shape) for key, tensor in net.state_dict().items()}


def _settings(spec: TorchvisionModel) -> dict[str, JsonValue]:
    """What the builder gets; a detector normalises in the network itself."""
    for name in spec.settings:
        if name in OURS:
            raise ModelError(f"{spec.torchvision}: settings: {name} {OURS[name]}")
    settings = dict(spec.settings)
    if job_of(spec) == "detect":
        statistics = {"image_mean": spec.mean, "image_std": spec.deviation}
        settings |= {name: list(value) for name, value in statistics.items() if value is not None}
    return settings


def _built(name: str, settings: Mapping[str, JsonValue], count: int) -> nn.Module:
    from torchvision.models import get_model

    try:
        net: nn.Module = get_model(
            name, weights=None, weights_backbone=None, num_classes=count, **settings
        )
    except (TypeError, ValueError, AttributeError, AssertionError, NotImplementedError) as error:
        raise ModelError(f"{name}: settings: {' '.join(str(error).split())}") from None
    _check_known(name, settings, signature(type(net)))
    return net


def _check_known(name: str, settings: Mapping[str, JsonValue], network: Signature) -> None:
    """Builders take any name. Those of detectors pass it on, and some networks forget it; those of
    segmenters forget it themselves.
    """
    from torchvision.models import detection, get_model_builder, list_models

    takers = [signature(get_model_builder(name))]
    if name in list_models(module=detection):
        takers.append(network)
    legal = {
        key
        for taker in takers
        for key, parameter in taker.parameters.items()
        if parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    } - set(OURS)
    for key in settings:
        if key not in legal and key not in OURS:
            near = nearest(key, legal)
            says = near[0] if near else f"legal are {listed(legal)}"
            raise ModelError(f"{name}: settings: there is no {key}; {says}")


def shapes_in(path: Path) -> Shapes:
    """Of every tensor of a file, by its header alone."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(f"{path}: not safetensors, or damaged: {error}") from None
