"""`python -m tests.chaos.overhead`: what it costs that nothing is lost, as a share of a run's time.

The chunks of a shipped recipe (data/bccd, its real denoiser) are done in this one process, by turns
as a run does them and plainly:

    as a run    tolerant scan and source hash, ranged reads that notice a changed shard, strict
                decoding, the journal of attempts, content-named tars with fsync and link, the
                confirmed commit, conservation, slot and published index
    plainly     tarfile, Pillow and json as they come, the same ops, the same tar and the same
                Parquet rows written with open().write

Measured is the ratio of both in turn; predicted is the sum of the parts that differ, each timed on
its own. Exit code 1 from 3 % up. Ray is in neither.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from rich import box
from rich.console import Console
from rich.table import Table

from jobs.run.plan import RunPlan, make_plan
from pipeline.chain.attempts import begin, weave_attempt
from pipeline.chain.under_way import attempted, begun
from pipeline.chain.weave import weave_chunk
from pipeline.chain.woven import RunContext, WovenCopy
from pipeline.model import Models
from pipeline.models import load_models
from pipeline.sink.commit import commit_chunk
from pipeline.sink.publication import publish
from pipeline.source.plan import Chunk, EncodedSample, plan, read_chunk
from pipeline.stages import stages_of
from pipeline.storage.store import Store
from pipeline.tars.tar import write_tar
from schemas.index import rows_to_table
from schemas.recipe import Source
from schemas.sample import Instances, Lineage, Sample

RECIPE: Final = "jobs/recipes/bccd.yaml"
LIMIT: Final = 0.03


@dataclass
class Clock:
    """Seconds by what they were spent on."""

    spent: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        """What the block takes."""
        start = time.perf_counter()
        yield
        self.spent[part].append(time.perf_counter() - start)

    def total(self, part: str) -> float:
        """All of it, each call at the median: one that the machine interrupted counts as others."""
        values = self.spent.get(part, [])
        return median(values) * len(values) if values else 0.0


class Ratio(NamedTuple):
    """How much longer a chunk takes as a run does it: by the clock, and in seconds of a core."""

    wall: float
    cpu: float


def main() -> int:
    """The comparison."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.overhead")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recipe", default=RECIPE)
    arguments = parser.parse_args()
    rounds, recipe = arguments.rounds, arguments.recipe
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        text = Path(recipe).read_text()
        path = Path(folder) / "bccd.yaml"
        sink = next(line for line in text.splitlines() if line.startswith("sink:"))
        path.write_text(text.replace(sink, f"sink: {folder}/out"))
        planned = make_plan(path)
        models = load_models(planned.recipe.models, "cpu")
        ratios: list[Ratio] = []
        checked, plain = Clock(), Clock()
        for turn in range(rounds):
            ratios += _round(planned, models, Path(folder) / f"{turn}", turn, checked, plain)
    return _tell(checked, plain, ratios[len(planned.chunks) :] or ratios)


def _round(
    planned: RunPlan, models: Models, folder: Path, turn: int, checked: Clock, plain: Clock
) -> list[Ratio]:
    """Every chunk both ways, the first way alternating; the ratios for each chunk."""
    store = Store(str(folder / "checked"))
    (folder / "plain").mkdir(parents=True)
    ratios, recipe = [], planned.recipe
    with checked.on("plan"):
        plan(recipe.source, recipe.chunk_size, planned.digest)
    with plain.on("plan"):
        for shard in planned.shards:
            with tarfile.open(shard.url) as tar:
                tar.getmembers()
    for number, chunk in enumerate(planned.chunks):
        ways: list[Callable[[], object]] = [
            partial(_checked, planned, models, store, chunk, checked),
            partial(_plain, planned, models, folder / "plain", chunk, plain),
        ]
        spent = [(0.0, 0.0), (0.0, 0.0)]
        for way in (0, 1) if (number + turn) % 2 else (1, 0):
            start, busy = time.perf_counter(), time.process_time()
            ways[way]()
            spent[way] = time.perf_counter() - start, time.process_time() - busy
        ratios.append(Ratio(*(ours / theirs - 1 for ours, theirs in zip(*spent, strict=True))))
        _decode_both(planned, chunk, checked, plain)
    with checked.on("publish"):
        publish(store, planned.run, [chunk.id for chunk in planned.chunks])
    with plain.on("publish"):
        tables = [pq.read_table(path) for path in sorted((folder / "plain").glob("*.parquet"))]
        pq.write_table(_joined(tables), folder / "plain" / "index.parquet", compression="zstd")
    return ratios


def _checked(planned: RunPlan, models: Models, store: Store, chunk: Chunk, clock: Clock) -> None:
    recipe = planned.recipe
    with clock.on("read"):
        encoded = read_chunk(chunk, recipe.source)
    with clock.on("journal"):
        attempt = begin(store, planned.run, chunk.id, "overhead")
    with clock.on("weave"):
        items, (stage,) = begun(encoded, recipe), stages_of(recipe)
        context = _context(planned, chunk)
        woven = weave_attempt(attempt, items, stage, recipe, models, context)
    with clock.on("commit"):
        rows = [(copy.row, copy.members) for copy in woven]
        commit_chunk(store, planned.run, chunk.id, rows, attempted(items))


def _plain(planned: RunPlan, models: Models, folder: Path, chunk: Chunk, clock: Clock) -> None:
    recipe = planned.recipe
    with clock.on("read"):
        encoded = list(_tarfile_read(chunk, recipe.source))
    with clock.on("weave"), patch("pipeline.chain.weave.decode", plain_decode):
        woven = weave_chunk(encoded, recipe, models, _context(planned, chunk))
    with clock.on("commit"):
        _plain_write(folder, chunk.id, woven)


def _context(planned: RunPlan, chunk: Chunk) -> RunContext:
    return RunContext(planned.run, planned.digest, chunk.id)


def _tarfile_read(chunk: Chunk, source: Source) -> Iterator[EncodedSample]:
    with tarfile.open(chunk.shard.url) as tar:
        for sample in chunk.samples:
            found: dict[str, bytes] = {}
            for member in sample.members:
                info = tarfile.TarInfo(member.name)
                info.offset_data, info.size = member.offset, member.size
                file = tar.extractfile(info)
                assert file is not None
                found[member.name.partition(".")[2]] = file.read()
            image = next(suffix for suffix in source.image if suffix in found)
            yield EncodedSample(
                sample.key, found[image], image, found.get("json"), None, "", chunk.shard.url
            )


def plain_decode(encoded: EncodedSample, layout: Source) -> Sample:
    """Pillow and json, and nothing is looked at twice."""
    image = np.asarray(Image.open(io.BytesIO(encoded.image)).convert("RGB"))
    record = json.loads(encoded.labels or b"{}")
    boxes = np.asarray(record["boxes"], np.float64).reshape(-1, 4)
    lineage = Lineage(encoded.shard, encoded.key, encoded.content)
    return Sample(
        encoded.key, image, Instances(boxes, tuple(record["labels"])), None, lineage=lineage
    )


def _plain_write(folder: Path, name: str, woven: Sequence[WovenCopy]) -> None:
    files = [
        (f"{copy.row.source_key}-{copy.row.copy:03d}.{suffix}", data)
        for copy in woven
        for suffix, data in copy.members.items()
    ]
    data, _ = write_tar(files)
    with (folder / f"{name}.tar").open("wb") as file:
        file.write(data)
    table = rows_to_table([copy.row for copy in woven])
    pq.write_table(table, folder / f"{name}.parquet", compression="zstd")


def _decode_both(planned: RunPlan, chunk: Chunk, checked: Clock, plain: Clock) -> None:
    """The one part that lies inside of the ops' time, on its own."""
    from pipeline.codec import decode

    encoded = read_chunk(chunk, planned.recipe.source)
    with checked.on("decode"):
        for item in encoded:
            decode(item, planned.recipe.source)
    with plain.on("decode"):
        for item in encoded:
            plain_decode(item, planned.recipe.source)


def _joined(tables: Sequence[object]) -> object:
    import pyarrow as pa

    return pa.concat_tables(tables)


PARTS: Final = {
    "plan": "scan of the source, hashed",
    "read": "reading a chunk",
    "decode": "decoding (in the ops' time)",
    "journal": "journal of attempts",
    "commit": "tar and index file",
    "publish": "publishing",
}


def _tell(checked: Clock, plain: Clock, ratios: Sequence[Ratio]) -> int:
    run = sum(plain.total(part) for part in (*PARTS, "weave") if part != "decode")
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("part", "as a run, ms", "plainly, ms", "share of the run"):
        table.add_column(name, justify="left" if name == "part" else "right")
    predicted = 0.0
    for part, told in PARTS.items():
        ours, theirs = checked.total(part), plain.total(part)
        predicted += (ours - theirs) / run
        table.add_row(told, _ms(ours), _ms(theirs), f"{(ours - theirs) / run:+.2%}")
    table.add_section()
    table.add_row("ops and gates", _ms(checked.total("weave")), _ms(plain.total("weave")), "")
    console = Console(width=100)
    console.print(table)
    console.print(f"predicted {predicted:+.2%}; less than {LIMIT:.0%} is allowed", highlight=False)
    for name, values in (
        ("by the clock", sorted(ratio.wall for ratio in ratios)),
        ("in CPU time", sorted(ratio.cpu for ratio in ratios)),
    ):
        low, high = values[len(values) // 4], values[-1 - len(values) // 4]
        console.print(
            f"measured {name} {median(values):+.2%}: the median of {len(values)} chunks, "
            f"half of them within {low:+.2%} and {high:+.2%}",
            highlight=False,
        )
    return 0 if predicted < LIMIT else 1


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


if __name__ == "__main__":
    sys.exit(main())
