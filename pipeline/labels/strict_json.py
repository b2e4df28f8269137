"""JSON as a labels file may hold it: one object, read strictly and within bounds.

Python's own reader takes more than JSON is, and says nothing: of a key that stands twice it keeps
the last. Here that is an error, as is what is nested deeper than MAX_DEPTH. NaN and Infinity are
read as numbers: whoever looks at the value names them better (`box_not_finite`). A file is bounded
before it is read, in bytes and in things, because a list of two bytes takes 64 in memory: the
largest file that is read takes 0.3 GB.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from schemas.errors import SampleError

MAX_BYTES: Final = 16 * 2**20
MAX_THINGS: Final = 2**20
"""Lists, objects and quotation marks; 100,000 objects with box, label and mask have them."""
MAX_DEPTH: Final = 64


def read_object(data: bytes) -> dict[str, object]:
    """The JSON object in these bytes; SampleError `bad_labels` or `labels_too_large`."""
    if len(data) > MAX_BYTES:
        raise SampleError("labels_too_large", f"{len(data)} bytes, {MAX_BYTES} at most")
    things = sum(data.count(mark) for mark in (b"[", b"{", b'"'))
    if things > MAX_THINGS:
        says = f"{things} lists, objects and quotation marks, {MAX_THINGS} at most"
        raise SampleError("labels_too_large", says)
    try:
        record = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once)
    except ValueError as error:
        raise SampleError("bad_labels", f"no JSON: {error}") from error
    except RecursionError as error:
        raise SampleError("bad_labels", "JSON nested too deeply") from error
    if not isinstance(record, dict):
        raise SampleError("bad_labels", "not a JSON object")
    _check_depth(record)
    return record


def text_of(value: object) -> str:
    """The value as JSON, the same every time; `bad_labels` where a number is not finite."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise SampleError("bad_labels", str(error)) from error


def shortened(value: object) -> str:
    """A value of the file, as Python shows it, for a message of one line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for i, key in enumerate(keys) if key in keys[:i])
        raise SampleError("bad_labels", f"the key {shortened(twice)} stands twice")
    return record


def _check_depth(record: dict[str, object]) -> None:
    """Level by level: what is deep must not be looked into by calls that are as deep."""
    level: list[object] = [record]
    for _ in range(MAX_DEPTH):
        level = [item for value in level for item in _inside(value)]
        if not level:
            return
    raise SampleError("bad_labels", f"JSON nested deeper than {MAX_DEPTH} levels")


def _inside(value: object) -> list[object]:
    """The lists and objects in a list or an object."""
    items: Iterable[object] = ()
    if isinstance(value, dict):
        items = value.values()
    elif isinstance(value, list):
        items = value
    return [item for item in items if isinstance(item, list | dict)]
