"""A .safetensors file, and the network that spandrel finds in it.

Only tensors are read; spandrel is given them, never the file, so that it has nothing to unpickle.
It tells the architecture and its size by the names and shapes of the weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.adapters.files import check_safetensors
from schemas.errors import ModelError

if TYPE_CHECKING:
    from spandrel import ArchRegistry, ModelDescriptor

EXTRA: Final = "spandrel_extra_arches"
DATED: Final = {"`torch.jit.script": FutureWarning, "torch.meshgrid": UserWarning}
"""How the warnings begin that MAT and SwinIR cause."""
INSTALL: Final = 'pip install "noiseloom[noncommercial]"'


def read_network(path: Path) -> ModelDescriptor:
    """The network of this file, on the CPU, ready to run. ModelError in one line where it is none
    that spandrel knows, or its weights do not fit together.
    """
    check_safetensors(path, "the weights of a spandrel model")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise ModelError(f"{path}: damaged: {_line(error)}") from None
    with quiet():
        registry = _registry()
        from spandrel import ModelLoader, UnsupportedModelError

        try:
            network = ModelLoader(registry=registry).load_from_state_dict(weights)
        except UnsupportedModelError:
            raise ModelError(f"{path}: no architecture that spandrel knows{_more()}") from None
        except (LookupError, ValueError, TypeError, RuntimeError, AssertionError) as error:
            raise ModelError(f"{path}: weights that do not fit together: {_line(error)}") from None
    network.eval().model.requires_grad_(False)
    return network


@contextmanager
def quiet() -> Iterator[None]:
    """Without what spandrel 0.4 says of torch's future while it imports and builds networks."""
    with warnings.catch_warnings():
        for message, kind in DATED.items():
            warnings.filterwarnings("ignore", message, kind)
        yield


def _registry() -> ArchRegistry:
    """All architectures that are installed; spandrel's own registry stays as it is."""
    from spandrel import MAIN_REGISTRY

    registry = MAIN_REGISTRY.copy()
    if find_spec(EXTRA) is not None:
        from spandrel_extra_arches import EXTRA_REGISTRY

        registry.add(*EXTRA_REGISTRY)
    return registry


def _more() -> str:
    if find_spec(EXTRA) is not None:
        return ""
    return f"; MAT and a few others, not for commercial use, come with {INSTALL}"


def _line(error: Exception) -> str:
    """What an error of a library says, in one line."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= 200 else said[:200] + " ..."
