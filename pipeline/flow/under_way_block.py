"""The block between two stages: one row for each source sample, with its copies in it.

Pixels, masks and class-id maps are raw bytes in `large_binary` columns (masks one bit a pixel), so
that Ray counts their size as it is; boxes are their float64. What is small stands in one JSON text
for each copy. Nothing is rounded: what comes out is what went in, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from pipeline.chain.under_way import State, UnderWay
from pipeline.flow.blocks import ENCODED, encoded_block, encoded_samples
from schemas.errors import SampleError
from schemas.index import AppliedOp, Repair
from schemas.sample import ImageArray, Instances, Lineage, Sample

_ARRAYS: Final = ("image", "boxes", "masks", "class_map")

_COPY: Final = pa.struct([("told", pa.string()), *((name, pa.large_binary()) for name in _ARRAYS)])

UNDER_WAY: Final = pa.schema(
    [*ENCODED, ("under_way", pa.list_(_COPY)), ("seconds", pa.list_(pa.float64()))]
)


@dataclass(frozen=True)
class _Told:
    """A copy without its arrays. `error` is (slug, detail); of a sample, `shape` is its image's."""

    copy: int
    ops: tuple[AppliedOp, ...]
    moved: bool
    new_picture: bool
    error: tuple[str, str] | None = None
    shape: tuple[int, int, int] | None = None
    key: str = ""
    lineage: Lineage | None = None
    labels: tuple[str, ...] | None = None
    extra: tuple[tuple[str, str], ...] = ()
    repairs: tuple[Repair, ...] = ()


_TOLD: Final = TypeAdapter(_Told)


def under_way_block(chunk: str, items: Sequence[UnderWay], seconds: Sequence[float]) -> pa.Table:
    """One chunk as a block; `seconds`: what each stage has spent on it so far."""
    encoded = encoded_block(chunk, [item.encoded for item in items])
    copies = [[_record(state) for state in item.copies] for item in items]
    columns = [
        *encoded.columns,
        pa.array(copies, type=pa.list_(_COPY)),
        pa.array([list(seconds)] * len(items), type=pa.list_(pa.float64())),
    ]
    return pa.Table.from_arrays(columns, schema=UNDER_WAY)


def samples_under_way(block: pa.Table) -> tuple[str, list[UnderWay], tuple[float, ...]]:
    """The inverse: the chunk's id, its samples, and the seconds of the stages before."""
    chunk, encoded = encoded_samples(block)
    copies = block["under_way"].to_pylist()
    items = [
        UnderWay(item, tuple(_state(record) for record in its))
        for item, its in zip(encoded, copies, strict=True)
    ]
    return chunk, items, tuple(block["seconds"][0].as_py())


def _record(state: State) -> dict[str, Any]:
    told: dict[str, Any] = {
        "copy": state.copy,
        "ops": state.ops,
        "moved": state.moved,
        "new_picture": state.new_picture,
    }
    arrays: dict[str, bytes] = {}
    if isinstance(state.now, SampleError):
        told["error"] = (state.now.slug, state.now.detail)
    elif state.now is not None:
        told |= _about(state.now)
        arrays = _bytes(state.now)
    return {"told": _TOLD.dump_json(_Told(**told)).decode(), **arrays}


def _about(sample: Sample) -> dict[str, Any]:
    return {
        "shape": sample.image_hwc.shape,
        "key": sample.key,
        "lineage": sample.lineage,
        "labels": None if sample.instances is None else sample.instances.labels,
        "extra": sample.extra,
        "repairs": sample.repairs,
    }


def _bytes(sample: Sample) -> dict[str, bytes]:
    arrays = {"image": sample.image_hwc.tobytes()}
    if sample.instances is not None:
        arrays["boxes"] = sample.instances.boxes_n4.astype(np.float64).tobytes()
        if sample.instances.masks_nhw is not None:
            arrays["masks"] = np.packbits(sample.instances.masks_nhw).tobytes()
    if sample.class_map_hw is not None:
        arrays["class_map"] = sample.class_map_hw.tobytes()
    return arrays


def _state(record: dict[str, Any]) -> State:
    told = _TOLD.validate_json(record["told"])
    now: Sample | SampleError | None = None
    if told.error is not None:
        now = SampleError(*told.error)
    elif told.shape is not None:
        now = _sample(told, told.shape, record)
    return State(told.copy, now, told.ops, told.moved, told.new_picture)


def _sample(told: _Told, shape: tuple[int, int, int], record: dict[str, Any]) -> Sample:
    """Arrays of its own, in C order: torch and some ops want to write to what they are given."""
    kinds: dict[int, type[np.uint8 | np.uint16]] = {3: np.uint8, 1: np.uint16}
    classes = record["class_map"]
    assert told.lineage is not None
    return Sample(
        told.key,
        cast(ImageArray, np.frombuffer(record["image"], kinds[shape[2]]).reshape(shape).copy()),
        _instances(told.labels, shape, record),
        None if classes is None else np.frombuffer(classes, np.uint8).reshape(shape[:2]).copy(),
        told.lineage,
        told.extra,
        told.repairs,
    )


def _instances(
    labels: tuple[str, ...] | None, shape: tuple[int, int, int], record: dict[str, Any]
) -> Instances | None:
    if labels is None:
        return None
    boxes_n4 = np.frombuffer(record["boxes"], np.float64).reshape(-1, 4).copy()
    if record["masks"] is None:
        return Instances(boxes_n4, labels)
    size = (len(labels), *shape[:2])
    bits = np.unpackbits(np.frombuffer(record["masks"], np.uint8), count=int(np.prod(size)))
    return Instances(boxes_n4, labels, bits.astype(bool).reshape(size))
