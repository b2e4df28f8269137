"""The files of an ONNX model: its own, and those with external data that it names.

Read from the protocol buffer itself (`onnx.proto`: ModelProto.graph = 7 and .functions = 25,
GraphProto.node = 1 and .initializer = 5, TensorProto.external_data = 13), field by field over a
mapping of the file: nothing is loaded, and the library onnx is not needed.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from schemas.errors import ModelError

Span = tuple[int, int]
"""From here to there, in bytes of the file."""

_CHILDREN: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
"""Of each message the fields that lead to a tensor, and what they hold."""

_LENGTH: Final = 2
_FIXED: Final = {1: 8, 5: 4}
"""Wire types: bytes with a length in front, and numbers of 8 and 4 bytes; 0 is a varint."""


def files_of(path: Path) -> list[Path]:
    """The file itself first, then its external data by name; ModelError where one lies elsewhere or
    the file is no ONNX.
    """
    if not path.is_file():
        raise ModelError(f"{path.absolute()}: no such file")
    if not path.stat().st_size:
        raise ModelError(f"{path}: the file is empty")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            spans = _locations(data, (0, len(data)), "model")
            names = sorted({data[start:end].decode() for start, end in spans})
    except (IndexError, UnicodeDecodeError, RecursionError):
        raise ModelError(f"{path}: not ONNX, or damaged") from None
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ModelError(
                f"{path}: its external data {name!r} lie outside of its folder; save it anew"
            )
    return [path, *(path.parent / name for name in names)]


def _locations(data: mmap.mmap, span: Span, message: str) -> Iterator[Span]:
    """The value of every entry `location` of external data below this message."""
    for number, value in _fields(data, span):
        child = _CHILDREN[message].get(number)
        if child == "entry":
            entry = dict(_fields(data, value))
            if 1 in entry and 2 in entry and data[slice(*entry[1])] == b"location":
                yield entry[2]
        elif child is not None:
            yield from _locations(data, value, child)


def _fields(data: mmap.mmap, span: Span) -> Iterator[tuple[int, Span]]:
    """(field number, where its bytes are) of those that have a length; IndexError where the message
    ends early.
    """
    at, end = span
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            _, at = _varint(data, at)
            continue
        if wire == _LENGTH:
            size, at = _varint(data, at)
        elif wire in _FIXED:
            size = _FIXED[wire]
        else:
            raise IndexError(f"wire type {wire}")
        if at + size > end:
            raise IndexError(f"field {number} ends at {at + size} of {end}")
        if wire == _LENGTH:
            yield number, (at, at + size)
        at += size


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """The number, and where the next byte is."""
    value = 0
    for place in range(10):
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise IndexError("a number of more than 10 bytes")
