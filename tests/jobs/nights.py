"""Nights without Ray: `noiseloom run` as it is, but for the flow, which weaves in this process by
the same functions, and can be killed after so many chunks.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobs.run.augment import augment
from pipeline.chain.under_way import attempted, begun
from pipeline.chain.weave import weave_chunk
from pipeline.chain.woven import RunContext
from pipeline.flow.pools import Width
from pipeline.index.files import read_index
from pipeline.sink.commit import Receipt, commit_chunk
from pipeline.sink.publication import current_runs
from pipeline.source.plan import Chunk, read_chunk
from pipeline.storage.store import Store
from tests.pipeline.shards import sample_files, tar_of

COPIES = 2


class Killed(BaseException):
    """The driver is gone."""


@dataclass
class Nights:
    """A folder with a source that changes, and one recipe. `made`: every copy that was ever woven,
    by key, hash of its source's bytes and number; `sessions`: how often Ray would have started.
    """

    folder: Path
    more: str = ""
    made: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    sessions: int = 0
    kill_after: int | None = None

    def __post_init__(self) -> None:
        self.recipe.write_text(
            f"source: {{shards: '{self.folder}/*.tar', segmentation: seg.png, classes: [cell]}}\n"
            f"sink: {self.folder}/out\nseed: 3\ncopies: {COPIES}\nchunk_size: 2\n"
            "tracking: {uri: null}\nresources: {gpus: 2}\n"
            "ops:\n- {kind: classic, transforms: [{HorizontalFlip: {p: 0.5}}]}\n" + self.more
        )

    @property
    def recipe(self) -> Path:
        return self.folder / "cells.yaml"

    @property
    def store(self) -> Store:
        return Store(f"{self.folder}/out")

    def shard(self, name: str, **widths: int) -> None:
        """Writes a shard: a sample of each key, of this width."""
        files = [f for key, width in widths.items() for f in sample_files(key, width=width)]
        (self.folder / f"{name}.tar").write_bytes(tar_of(files))

    def gone(self, name: str) -> None:
        (self.folder / f"{name}.tar").unlink()

    def run(self) -> str:
        """One night, to its end; what it said."""
        said = io.StringIO()
        augment(self.recipe, Console(file=said, width=300))
        return said.getvalue()

    def killed(self, chunks: int) -> None:
        """One night that dies when so many chunks are committed."""
        self.kill_after = chunks
        with pytest.raises(Killed):
            self.run()
        self.kill_after = None

    def current(self) -> Counter[tuple[str, int, int]]:
        """What a reader of the current runs sees: key, width and number of every copy."""
        rows = read_index(self.store, current_runs(self.store))
        columns = (rows[name].to_pylist() for name in ("source_key", "width", "copy"))
        return Counter(zip(*columns, strict=True))

    def flow(
        self, chunks: Sequence[Chunk], recipe: Any, run: str, digest: str, *_: object
    ) -> Iterator[Receipt]:
        """In the place of `pipeline.flow.graph.run_flow`."""
        for number, chunk in enumerate(chunks):
            if number == self.kill_after:
                raise Killed
            encoded = read_chunk(chunk, recipe.source)
            woven = weave_chunk(encoded, recipe, {}, RunContext(run, digest, chunk.id))
            rows = [(copy.row, copy.members) for copy in woven]
            self.made.update((r.source_key, r.source_hash, r.copy) for r, _ in rows)
            planned = attempted(begun(encoded, recipe))
            receipt = commit_chunk(Store(recipe.sink), run, chunk.id, rows, planned)
            yield replace(receipt, stages=(1.5,))

    @contextmanager
    def session(self, num_cpus: int | None = None) -> Iterator[None]:
        """In the place of `jobs.ray_session.ray_session`."""
        self.sessions += 1
        yield


def copies(**widths: int) -> Counter[tuple[str, int, int]]:
    """Every copy of these samples once: what `current` is to be."""
    return Counter((key, width, n) for key, width in widths.items() for n in range(COPIES))


def without_ray(folder: Path, patch: pytest.MonkeyPatch, more: str = "") -> Nights:
    nights = Nights(folder, more)
    patch.setattr("jobs.ray_session.ray_session", nights.session)
    patch.setattr("pipeline.flow.graph.run_flow", nights.flow)
    patch.setattr("jobs.run.augment.check_pools", lambda _: None)  # it has GPUs, for their cost
    patch.setattr("jobs.run.augment.print_stages", lambda *_: None)
    patch.setattr("jobs.run.augment.widths_here", lambda *_: [Width(1, 1, 1)])
    return nights
