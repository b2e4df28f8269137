"""onnxruntime: quiet, with as many threads as torch has, and without anybody's code.

Libraries of custom ops are never loaded: a file that needs one is refused by onnxruntime. A GPU is
used where the installed onnxruntime has its CUDA provider; the package of that name on its own
runs on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnxruntime.capi import (  # type: ignore[import-untyped]
    onnxruntime_pybind11_state as raised,
)

from pipeline.adapters.onnx.layout import Port, Ports
from schemas.errors import ModelError

SEVERITY = 3
"""Errors only: onnxruntime warns of every shape that it finds twice."""


class Session(Protocol):
    """What is used of an InferenceSession."""

    def run(
        self, names: Sequence[str], feed: Mapping[str, NDArray[np.generic]]
    ) -> list[NDArray[np.generic]]:
        """These outputs."""


def ports_of(path: Path) -> Ports:
    """Inputs and outputs of a file; ModelError where onnxruntime cannot read it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = _session(path, options, ["CPUExecutionProvider"])
    task = session.get_modelmeta().custom_metadata_map.get("task")
    inputs, outputs = session.get_inputs(), session.get_outputs()
    return Ports(tuple(map(_port, inputs)), tuple(map(_port, outputs)), task)


def opened(path: Path, device: str) -> Session:
    """A session on this device, `cpu` or `cuda:1`."""
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    # Threads that wait in a loop take the cores from the others of this machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session: Session = _session(path, options, _providers(device))
    return session


def _providers(device: str) -> list[str | tuple[str, dict[str, str]]]:
    cpu = "CPUExecutionProvider"
    name, _, number = device.partition(":")
    if name != "cuda" or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return [cpu]
    # The default tries every algorithm and takes the fastest: another one in another run.
    settings = {"device_id": number or "0", "cudnn_conv_algo_search": "HEURISTIC"}
    return [("CUDAExecutionProvider", settings), cpu]


def _session(
    path: Path,
    options: onnxruntime.SessionOptions,
    providers: Sequence[str | tuple[str, dict[str, str]]],
) -> onnxruntime.InferenceSession:
    onnxruntime.set_default_logger_severity(SEVERITY)
    options.log_severity_level = SEVERITY
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except (
        raised.Fail,
        raised.InvalidArgument,
        raised.InvalidGraph,
        raised.InvalidProtobuf,
        raised.NoSuchFile,
        raised.NotImplemented,
        raised.RuntimeException,
    ) as error:
        says = " ".join(str(error).split())
        raise ModelError(f"{path}: onnxruntime cannot run it: {says}") from None


def _port(port: onnxruntime.NodeArg) -> Port:
    sides = tuple(side if isinstance(side, int) and side > 0 else None for side in port.shape or ())
    return Port(port.name, port.type, sides)
