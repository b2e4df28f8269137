"""ONNX files made by hand: small graphs of which every number is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.pipeline.ops.examples import GROUND, PAINTS

Sides = Sequence[int | str]
FLOAT, HALF, BYTES, LONG = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.UINT8,
    TensorProto.INT64,
)
ANY_SIZE: Sides = (1, 3, "h", "w")


def saved(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[tuple[str, int, Sides]],
    *,
    takes: Sides = ANY_SIZE,
    type_: int = FLOAT,
    weights: Sequence[onnx.TensorProto] = (),
    task: str | None = None,
) -> Path:
    """A graph with the input `image`."""
    graph = helper.make_graph(
        nodes,
        "made_by_hand",
        [helper.make_tensor_value_info("image", type_, takes)],
        [helper.make_tensor_value_info(*output) for output in outputs],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if task is not None:
        helper.set_model_props(model, {"task": task})
    onnx.save(model, path)
    return path


def tensor(name: str, values: NDArray[np.generic] | Sequence[float]) -> onnx.TensorProto:
    array = np.asarray(values)
    return numpy_helper.from_array(
        array.astype(np.float32) if array.dtype == float else array, name
    )


def says(path: Path, *outputs: tuple[str, Sequence[object]], takes: Sides = ANY_SIZE) -> Path:
    """A detector that finds the same in every image. Lists of whole numbers are labels."""
    weights, shapes = [], []
    for name, values in outputs:
        array = np.array(values)
        array = array.astype(np.float32) if array.dtype == float else array.astype(np.int64)
        weights.append(numpy_helper.from_array(array, f"{name}_"))
        shapes.append((name, LONG if array.dtype == np.int64 else FLOAT, array.shape))
    nodes = [helper.make_node("Identity", [f"{name}_"], [name]) for name, _ in outputs]
    return saved(path, nodes, shapes, takes=takes, weights=weights)


def paint_segmenter(path: Path, takes: Sides = ANY_SIZE, *, ids: bool = False) -> Path:
    """Numbers 0 to 4: the ground, then the paints. The nearest colour has the largest logit:
    2 c·x - c·c falls with the distance of x from c.
    """
    colours = np.array([[GROUND + 10] * 3, *PAINTS]) / 255
    weights = [tensor("w", (2 * colours)[:, :, None, None]), tensor("b", -(colours**2).sum(axis=1))]
    logits = helper.make_node("Conv", ["image", "w", "b"], ["logits"], kernel_shape=[1, 1])
    if not ids:
        return saved(
            path, [logits], [("logits", FLOAT, (1, 5, *takes[2:]))], takes=takes, weights=weights
        )
    largest = helper.make_node("ArgMax", ["logits"], ["ids"], axis=1, keepdims=0)
    return saved(
        path, [logits, largest], [("ids", LONG, (1, *takes[2:]))], takes=takes, weights=weights
    )


def bright(
    path: Path, type_: int, level: float, *, last: bool = False, batched: bool = True
) -> Path:
    """Number 1 where the first channel is above a level, as the network sees it."""
    axis = (1 if batched else 0) + (2 if last else 0)
    sides: Sides = ("h", "w", 3) if last else (3, "h", "w")
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=FLOAT),
        helper.make_node("Gather", ["floats", "first"], ["red"], axis=axis),
        helper.make_node("Greater", ["red", "level"], ["above"]),
        helper.make_node("Cast", ["above"], ["ids"], to=LONG),
    ]
    weights = [tensor("level", np.float32(level)), tensor("first", np.int64(0))]
    takes = (1, *sides) if batched else sides
    out = (1, "h", "w") if batched else ("h", "w")
    return saved(path, nodes, [("ids", LONG, out)], takes=takes, type_=type_, weights=weights)
