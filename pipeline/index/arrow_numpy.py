"""Arrow arrays to numpy's and from plain values, without what would first import pandas.

`np.asarray(array)`, `pa.array` and `pa.scalar` do so, if only to see whether it was given something
of pandas: 0.5 s on a fast machine, 2 s on a slow one, half of what opening a training set may take.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def to_numpy(array: pa.Array) -> NDArray[Any]:
    """The numbers or booleans of an array without nulls; numbers are not copied."""
    if pa.types.is_boolean(array.type):
        return to_numpy(array.cast(pa.uint8())).view(np.bool_)
    values: NDArray[Any] = np.from_dlpack(array)
    return values


def booleans(mask: NDArray[np.bool_]) -> pa.Array:
    """A mask as an array."""
    return pa.Array.from_buffers(
        pa.uint8(), len(mask), [None, pa.py_buffer(np.ascontiguousarray(mask))]
    ).cast(pa.bool_())


def array_of(values: Sequence[str | float]) -> pa.Array:
    """Texts, or numbers as float64; `[0]` of it is a scalar."""
    if values and isinstance(values[0], str):
        encoded = [str(value).encode() for value in values]
        ends = np.fromiter(accumulate(map(len, encoded), initial=0), np.int32)
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
        return pa.Array.from_buffers(pa.string(), len(encoded), buffers)
    floats = np.array(values, np.float64)
    return pa.Array.from_buffers(pa.float64(), len(floats), [None, pa.py_buffer(floats)])
