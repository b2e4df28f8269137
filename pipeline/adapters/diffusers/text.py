"""Prompts encoded once: what a pipeline's text encoders make of each is kept.

`Encodings` stands in front of a pipeline's `encode_prompt`. A batch is taken apart; every prompt is
encoded alone, so that its encoding does not depend on its neighbours, and kept in the CPU's memory,
the latest first, up to `KEPT_BYTES`. What else the pipeline says (a negative prompt, a length) is
part of what is remembered.

A family whose encodings are as long as the text (Qwen-Image) gets them filled up to a multiple of
`LENGTHS` tokens, which its network is told to pass over; only prompts of the same length share a
batch (`width`).
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from pipeline.adapters.diffusers.families import parameters_of

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

KEPT_BYTES: Final = 2**30
"""Of one model: 6,800 prompts of Stable Diffusion, 250 of Flux."""

LENGTHS: Final = 64
"""Tokens; an encoding that is as long as its text has a multiple of them."""

_MASK: Final = "prompt_embeds_mask"

Encoded = tuple[Tensor | None, ...]


class Encodings:
    """The `encode_prompt` of a pipeline, with a memory."""

    def __init__(self, pipeline: DiffusionPipeline) -> None:
        self._encode = pipeline.encode_prompt
        self._signature = inspect.signature(self._encode)
        self._max_length = parameters_of(type(pipeline)).get("max_sequence_length")
        self._kept: OrderedDict[object, Encoded] = OrderedDict()
        self._bytes = 0
        self.times = 0
        """How often a text encoder was asked."""

    def __call__(self, *given: object, **named: object) -> Encoded:
        """What `encode_prompt` gives for a batch of prompts."""
        bound = self._signature.bind(*given, **named)
        bound.apply_defaults()
        arguments: Mapping[str, Any] = bound.arguments
        count = len(arguments["prompt"])
        parts = [self._one(_of(arguments, i)) for i in range(count)]
        device = arguments.get("device")
        return tuple(_joined(values, device) for values in zip(*parts, strict=True))

    def width(self, prompt: str, device: torch.device) -> int:
        """How long the encoding of a prompt is, where that depends on the prompt; else 0."""
        if _MASK not in self._signature.parameters:
            return 0
        named: dict[str, object] = {"prompt": [prompt], "device": device}
        if self._max_length is not None:
            named["max_sequence_length"] = self._max_length.default
        encoded = self(**named)[0]
        assert encoded is not None
        return encoded.shape[1]

    def _one(self, arguments: Mapping[str, Any]) -> Encoded:
        """The encoding of one prompt, on the CPU."""
        key = tuple((name, _plain(value)) for name, value in arguments.items() if name != "device")
        found = self._kept.get(key)
        if found is None:
            self.times += 1
            found = tuple(
                None if value is None else value.cpu() for value in self._encode(**arguments)
            )
            if _MASK in self._signature.parameters:
                found = _filled_up(found)
            self._kept[key] = found
            self._bytes += _size(found)
        self._kept.move_to_end(key)
        while self._bytes > KEPT_BYTES and len(self._kept) > 1:
            self._bytes -= _size(self._kept.popitem(last=False)[1])
        return found


def _of(arguments: Mapping[str, Any], position: int) -> dict[str, Any]:
    """The arguments for one prompt of a batch."""
    one = {
        name: [value[position]] if isinstance(value, list) else value
        for name, value in arguments.items()
    }
    # No negative prompt is not an empty one to SDXL, which then shows zeros.
    empty = [name for name in one if name.startswith("negative_prompt") and one[name] == [""]]
    return one | dict.fromkeys(empty)


def _plain(value: object) -> object:
    """What tells one argument from another."""
    return tuple(value) if isinstance(value, list) else str(value)


def _filled_up(encoded: Encoded) -> Encoded:
    """(values, mask) of a length that is a multiple of LENGTHS, and with a mask."""
    values, mask = encoded
    assert values is not None
    length = values.shape[1]
    missing = -length % LENGTHS
    known = torch.ones(1, length, dtype=torch.bool) if mask is None else mask.bool()
    return (
        torch.nn.functional.pad(values, (0, 0, 0, missing)),
        torch.nn.functional.pad(known, (0, missing)),
    )


def _joined(values: Sequence[Tensor | None], device: torch.device | None) -> Tensor | None:
    """One tensor of a batch; what is no batch (Flux's position of each token) is all the same."""
    tensors = [value for value in values if value is not None]
    if not tensors:
        return None
    whole = tensors[0] if len(tensors[0]) > 1 else torch.cat(tensors)
    return whole.to(device)


def _size(encoded: Encoded) -> int:
    return sum(value.nbytes for value in encoded if value is not None)
