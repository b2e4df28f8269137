"""The meter, without Ray: what is recorded at which moment, and nothing where Ray is not up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pipeline import metering
from pipeline.diffusion.memory import made_in_batches
from pipeline.metering import METRICS, Metric
from tests.pipeline.rows import row

Taken = list[tuple[str, float, dict[str, str]]]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Taken]:
    """Every value, with its metric's name and its tags, held to what Ray would take."""
    values: Taken = []

    def take_of(metric: Metric) -> metering.Take:
        def take(value: float, tags: dict[str, str]) -> None:
            assert set(tags) == set(metric.tags)
            assert all(isinstance(tag, str) for tag in tags.values())
            assert type(value) in (int, float)
            assert value > 0 or metric.kind != "counter"
            values.append((metric.name, value, tags))

        return take

    monkeypatch.setattr(metering, "take_of", take_of)
    monkeypatch.setattr(metering, "_takes", {})
    yield values


def test_an_op_counts_its_images_its_chunk_and_its_seconds(taken: Taken) -> None:
    with metering.working("inpaint", "denoiser", 5):
        pass
    (seconds, images, chunks) = taken
    assert seconds[0] == "noiseloom_op_seconds"
    assert seconds[2] == {"op": "inpaint", "model": "denoiser"}
    assert images == ("noiseloom_images", 5, {"op": "inpaint"})
    assert chunks == ("noiseloom_chunks", 1, {"op": "inpaint"})


def test_work_that_raises_is_not_counted(taken: Taken) -> None:
    with pytest.raises(KeyError), metering.working("inpaint", None, 5):
        raise KeyError
    with pytest.raises(KeyError), metering.committing("run", [row("a")]):
        raise KeyError
    assert taken == []


def test_a_batch_that_does_not_fit_is_a_halving_and_the_places_that_it_wastes_are_counted(
    taken: Taken,
) -> None:
    def make(shape: tuple[int, int], places: object) -> list[object]:
        assert isinstance(places, list)
        if len(places) > 2:
            raise MemoryError
        return [np.zeros(1) for _ in places]

    class Net:
        """Anything that can be remembered."""

    made_in_batches(Net(), [(64, 64)] * 3, 8, 4 * 64 * 64, make)
    net = {"network": "Net"}
    assert taken == [
        ("noiseloom_memory_halvings", 1, net),
        ("noiseloom_batch_images", 2, net),
        ("noiseloom_batch_places", 2, net),
        ("noiseloom_batch_images", 1, net),
        ("noiseloom_batch_places", 2, net),
    ]


def test_a_block_waits_from_when_it_was_ready_and_never_less_than_nothing(
    taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metering.time, "time", lambda: 100.0)
    block = metering.stamped(pa.table({"key": ["a", "b"]}))
    assert block.column_names == ["key", metering.MADE_AT]
    for now in (107.5, 99.0):
        monkeypatch.setattr(metering.time, "time", lambda now=now: now)
        metering.waited(block, "weave")
    assert [value for _, value, _ in taken] == [7.5, 0.0]


def test_a_commit_counts_its_copies_by_what_became_of_them_and_why(taken: Taken) -> None:
    kept, bad = row("a"), replace(row("b", "rejected"), reason="blurred")
    with metering.committing("cells", [kept, bad, kept]):
        pass
    assert taken[0][0] == "noiseloom_commit_seconds"
    assert taken[1:] == [
        ("noiseloom_copies", 2, {"run": "cells", "status": "kept", "reason": ""}),
        ("noiseloom_copies", 1, {"run": "cells", "status": "rejected", "reason": "blurred"}),
    ]


def test_the_last_chunk_leaves_none(taken: Taken) -> None:
    metering.left("cells", 0)
    assert taken == [("noiseloom_chunks_left", 0, {"run": "cells"})]


def test_without_ray_nothing_happens_and_ray_is_not_imported() -> None:
    code = (
        "import sys; from pipeline import metering\n"
        "with metering.working('blur', None, 3): pass\n"
        "metering.left('run', 3)\n"
        "assert 'ray' not in sys.modules and not metering._takes"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_metric_has_a_name_of_its_own_and_says_what_it_is() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert all(metric.name.startswith("noiseloom_") and metric.says for metric in METRICS)
    for metric in METRICS:
        assert list(metric.bounds) == sorted(metric.bounds)
        assert bool(metric.bounds) == (metric.kind == "histogram")
