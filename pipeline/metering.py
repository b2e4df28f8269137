"""What a run measures of itself while it runs, for Prometheus, by way of Ray (`ray.util.metrics`).

Ray's agent on each node exports it, with `ray_` in front and, for counters, `_total` behind:
`ray_noiseloom_images_total`. infra/monitoring reads it. A value is a sum or a last value, never a
list: each costs 2 µs (measured), two dozen for a chunk, and none looks at pixels.

Where Ray is not up in this process, in a preview, a replay or a test, nothing happens. What a
worker measured in its last seconds is lost with it: Prometheus is for watching, and the index is
what counts.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

from schemas.index import IndexRow

MADE_AT: Final = "made_at"
"""The column of a block that says when it was ready, in seconds since 1970."""

WAITS_S: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Bounds of buckets: half an order of magnitude apart, from idle workers to a stuck pool."""

COMMITS_S: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""From a local disk to a store that has to be asked again."""


@dataclass(frozen=True)
class Metric:
    """One thing that is measured. `tags` are Prometheus' labels: names from the recipe, few."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    says: str
    tags: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


IMAGES: Final = Metric(
    "counter", "noiseloom_images", "Images that an op or a gate has worked on.", ("op",)
)
CHUNKS: Final = Metric(
    "counter", "noiseloom_chunks", "Chunks that an op or a gate has worked on.", ("op",)
)
SECONDS: Final = Metric(
    "counter",
    "noiseloom_op_seconds",
    "Seconds in ops and gates; model is the name in the recipe, and empty where there is none.",
    ("op", "model"),
)
BATCH_IMAGES: Final = Metric(
    "counter", "noiseloom_batch_images", "Images in batches of a network.", ("network",)
)
BATCH_PLACES: Final = Metric(
    "counter",
    "noiseloom_batch_places",
    "Places in batches of a network; those without an image of their own are wasted.",
    ("network",),
)
HALVINGS: Final = Metric(
    "counter",
    "noiseloom_memory_halvings",
    "Batches halved because memory ran out; each stays halved for its model in that worker.",
    ("network",),
)
WAIT: Final = Metric(
    "histogram",
    "noiseloom_queue_wait_seconds",
    "Seconds between a chunk's being ready for a stage and its being taken.",
    ("stage",),
    WAITS_S,
)
COPIES: Final = Metric(
    "counter",
    "noiseloom_copies",
    "Copies committed; status is kept, rejected or failed, reason the slug.",
    ("run", "status", "reason"),
)
COMMIT: Final = Metric(
    "histogram", "noiseloom_commit_seconds", "Seconds of a chunk's commit.", (), COMMITS_S
)
LEFT: Final = Metric(
    "gauge", "noiseloom_chunks_left", "Chunks of a run that are still to be committed.", ("run",)
)
METRICS: Final = (
    IMAGES,
    CHUNKS,
    SECONDS,
    BATCH_IMAGES,
    BATCH_PLACES,
    HALVINGS,
    WAIT,
    COPIES,
    COMMIT,
    LEFT,
)


Take = Callable[[float, dict[str, str]], None]
"""What takes the values of one metric, each with its tags."""


@contextmanager
def working(op: str, model: str | None, images: int) -> Iterator[None]:
    """Around an op's or a gate's work on the images of one chunk. Counted where it ends well."""
    start = time.perf_counter()
    yield
    _record(SECONDS, time.perf_counter() - start, op=op, model=model or "")
    _record(IMAGES, images, op=op)
    _record(CHUNKS, 1, op=op)


def batched(network: object, batch: Sequence[int]) -> None:
    """A batch that was made; the positions in it repeat where it was not full."""
    name = type(network).__name__
    _record(BATCH_IMAGES, len(set(batch)), network=name)
    _record(BATCH_PLACES, len(batch), network=name)


def halved(network: object) -> None:
    """A batch did not fit into memory."""
    _record(HALVINGS, 1, network=type(network).__name__)


def stamped(block: pa.Table) -> pa.Table:
    """A block that is ready for the next stage, with a column that says since when."""
    now = pa.array([time.time()] * len(block), type=pa.float64())
    return block.append_column(MADE_AT, now)


def waited(block: pa.Table, stage: str) -> None:
    """A stage takes a block that was `stamped`. Clocks of two nodes may differ: never below 0."""
    since = block[MADE_AT][0].as_py()
    _record(WAIT, max(0.0, time.time() - since), stage=stage)


@contextmanager
def committing(run: str, rows: Iterable[IndexRow]) -> Iterator[None]:
    """Around the commit of a chunk with these rows. Counted where it ends well."""
    start = time.perf_counter()
    yield
    _record(COMMIT, time.perf_counter() - start)
    for (status, reason), copies in Counter((row.status, row.reason) for row in rows).items():
        _record(COPIES, copies, run=run, status=status, reason=reason or "")


def left(run: str, chunks: int) -> None:
    """How many chunks of a run are still to be committed; said by its driver."""
    _record(LEFT, chunks, run=run)


def _record(metric: Metric, value: float, **tags: str) -> None:
    take = _takes.get(metric.name) or take_of(metric)
    if take is not None and (value > 0 or metric.kind != "counter"):  # Ray's counters refuse 0
        _takes[metric.name] = take
        take(value, tags)


_takes: Final[dict[str, Take]] = {}
"""Those of this process, by metric, once Ray is up in it."""


def take_of(metric: Metric) -> Take | None:
    """Ray's for a metric; None where Ray is not up in this process. Asking does not import it."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    from ray.util import metrics

    name, says, tags = metric.name, metric.says, metric.tags
    take: Take
    if metric.kind == "histogram":
        bounds = list(metric.bounds)
        take = metrics.Histogram(name, says, boundaries=bounds, tag_keys=tags).observe
    elif metric.kind == "gauge":
        take = metrics.Gauge(name, says, tag_keys=tags).set
    else:
        take = metrics.Counter(name, says, tag_keys=tags).inc
    return take
