"""What diffusers, transformers and safetensors raise where files are not what they should be."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from safetensors import SafetensorError

WRONG: Final = (
    OSError,
    ValueError,
    RuntimeError,
    TypeError,
    AttributeError,
    KeyError,
    ImportError,
    SafetensorError,
)


def first_line(error: BaseException) -> str:
    """Of what is said, which often is a page; the name of the error where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def own_warnings_ignored() -> Iterator[None]:
    """While this lasts diffusers does not warn of what it uses itself: FluxControlNet's embedding
    is deprecated.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`FluxPosEmbed` is deprecated", FutureWarning)
        yield
