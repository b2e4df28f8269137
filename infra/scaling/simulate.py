"""`python infra/scaling/simulate.py --chunks 1000 5000`: what a chunk costs when it does nothing.

A real run of `pipeline.flow.graph.run_flow`, with a real Ray on this machine, over chunks of one
tiny image with an op that mirrors it. For each number of chunks a process of its own: a shard is
written, planned, woven, committed and published into a folder that is deleted afterwards. Printed
are memory of the driver as it goes, and seconds and requests for each chunk; the numbers that
`infra/SCALING.md` computes with.

    driver MB       memory of its own: with the plan, when Ray is up, after 10 % ... 100 % of chunks
    driver CPU      of the driver's own process, by which the run cannot be faster
    all CPU         of the driver and all of Ray's processes
    wall            by the clock; on a machine that does other things, too, it says little

Each thousand chunks are told on the way. Memory that is shared (libraries, the object store) is not
counted: it belongs to the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

RECIPE = """
source: {{shards: '{folder}/stubs.tar'}}
sink: {folder}/out
chunk_size: 1
ops: [{{kind: classic, transforms: [{{HorizontalFlip: {{p: 1.0}}}}]}}]
resources: {{cpus: 1, pool: [1, 1]}}
tracking: {{uri: null}}
"""


TOLD_EVERY = 1000

SHARDS = 100
"""Of 1,000 samples each, for the memory of a plan. They are planned twice: what the first time
takes besides the plan, for the shards that are under way, is there the second time.
"""


def main() -> None:
    """One process for each number of chunks, so that none starts with another's memory."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chunks", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--parts", action="store_true", help="without Ray: the other numbers")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        sys.stdout.write(json.dumps(measured(arguments.one)) + "\n")
        return
    if arguments.parts:
        sys.stdout.write(json.dumps(parts(), indent=1) + "\n")
        return
    for chunks in arguments.chunks:
        command = [sys.executable, __file__, "--one", str(chunks)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
        sys.stdout.write(json.dumps(json.loads(said.stdout.splitlines()[-1]), indent=1) + "\n")
        sys.stdout.flush()


def measured(chunks: int) -> dict[str, Any]:
    """One run of so many chunks."""
    from jobs.run.plan import make_plan, write_plan
    from pipeline.index.files import published_path
    from pipeline.sink.publication import committed, publish

    with tempfile.TemporaryDirectory(prefix="noiseloom-scaling-") as name:
        folder = Path(name)
        _write_stubs(folder / "stubs.tar", chunks)
        recipe = folder / "stubs.yaml"
        recipe.write_text(RECIPE.format(folder=folder))
        before, start = _resident(), time.perf_counter()
        planned = make_plan(recipe)
        found: dict[str, Any] = {
            "chunks": chunks,
            "driver_mb_imported": before,
            "driver_mb_planned": _resident(),
            "plan_s": time.perf_counter() - start,
        }
        write_plan(planned)
        plan_bytes = (folder / "out" / planned.path).stat().st_size
        found |= _flowed(planned)
        start = time.perf_counter()
        committed(planned.store, planned.run)
        found["resume_s"] = time.perf_counter() - start
        start = time.perf_counter()
        publish(planned.store, planned.run, [chunk.id for chunk in planned.due])
        found["publish_s"] = time.perf_counter() - start
        found["driver_mb_published"] = _resident()
        index_bytes = (folder / "out" / published_path(planned.run)).stat().st_size
        found["index_bytes_per_row"] = index_bytes / chunks
        found["plan_bytes_per_chunk"] = plan_bytes / chunks
        found["requests_per_chunk"] = _requests(planned.chunks[0], planned)
        return found


def parts(samples: int = 64, chunks: int = 4000) -> dict[str, float]:
    """What a planned sample and a chunk of 64 take in the driver, and a chunk of one row while it
    is published.
    """
    from pipeline.index.files import index_file, pending_path
    from pipeline.sink.publication import publish
    from pipeline.source.plan import plan
    from pipeline.storage.store import Store
    from schemas.index import INDEX_SCHEMA
    from schemas.recipe import Source

    with tempfile.TemporaryDirectory(prefix="noiseloom-scaling-") as name:
        folder = Path(name)
        _write_stubs(folder / "few.tar", samples)
        source = Source(shards=(f"{folder}/few.tar",))
        (chunk,) = plan(source, samples, "0").chunks
        pickled = len(pickle.dumps(chunk))
        for number in range(SHARDS):
            _write_stubs(folder / f"many-{number:03d}.tar", 1000, 1000 * number)
        many = [plan(Source(shards=(f"{folder}/many-*.tar",)), samples, "0").chunks]
        before, start = _resident(), time.process_time()
        many.append(plan(Source(shards=(f"{folder}/many-*.tar",)), samples, "0").chunks)
        planned = sum(len(chunk.samples) for chunk in many[1])
        planned_bytes = 1e6 * (_resident() - before) / planned
        planned_us = 1e6 * (time.process_time() - start) / planned
        row = dict.fromkeys(INDEX_SCHEMA.names) | {"status": "rejected", "run": "r"}
        row |= {"repairs": [], "members": [], "boxes": [], "labels": [], "ops": [], "scores": []}
        store, names = Store(f"{folder}/out"), [f"{number:016x}" for number in range(chunks)]
        for chunk_id in names:
            table = pa.Table.from_pylist([row | {"chunk": chunk_id}], schema=INDEX_SCHEMA)
            store.create(pending_path("r", chunk_id), index_file([table]))
        before, start = _resident(), time.process_time()
        publish(store, "r", names)
        return {
            "planned_bytes_per_sample": planned_bytes,
            "planned_cpu_us_per_sample": planned_us,
            "chunk_bytes_of_64": pickled,
            "publish_kb_per_chunk": 1e3 * (_resident() - before) / chunks,
            "publish_cpu_ms_per_chunk": 1e3 * (time.process_time() - start) / chunks,
        }


def _flowed(planned: Any) -> dict[str, Any]:
    """The run itself; memory at every tenth, and seconds for each chunk from the first tenth on,
    when actors and workers are up.
    """
    from jobs.ray_session import ray_session

    chunks, tenth = len(planned.chunks), max(1, len(planned.chunks) // 10)
    with ray_session(num_cpus=(os.cpu_count() or 1) + 1):
        from pipeline.flow.graph import run_flow
        from pipeline.flow.pools import Width

        driver_mb, marks = [_resident()], [(0, 0.0, 0.0, 0.0)]
        flow = run_flow(
            planned.chunks,
            planned.recipe,
            planned.run,
            planned.digest,
            secrets.token_hex(8),
            chunks,
            [Width(1, 1, 1)],
        )
        for number, _ in enumerate(flow, 1):
            if number % tenth == 0:
                driver_mb.append(_resident())
                marks.append((number, time.perf_counter(), time.process_time(), _all_cpu()))
            if number % TOLD_EVERY == 0:
                _tell(number)
        (n0, wall0, own0, all0), (n1, wall1, own1, all1) = marks[1], marks[-1]
    each = max(1, n1 - n0)
    return {
        "driver_mb": driver_mb,
        "wall_ms_per_chunk": 1e3 * (wall1 - wall0) / each,
        "driver_cpu_ms_per_chunk": 1e3 * (own1 - own0) / each,
        "all_cpu_ms_per_chunk": 1e3 * (all1 - all0) / each,
        "driver_cpu_ms_per_chunk_by_tenth": [
            round(1e3 * (b[2] - a[2]) / (b[0] - a[0]), 2) for a, b in pairwise(marks[1:])
        ],
    }


def _tell(number: int) -> None:
    says = f"{number} chunks: driver {_resident()} MB, CPU {time.process_time():.1f} s"
    sys.stderr.write(f"{says}, of all {_all_cpu():.1f} s, clock {time.strftime('%H:%M:%S')}\n")


def _write_stubs(path: Path, samples: int, first: int = 0) -> None:
    """Tiny images, each another, with one box; `first` is the number of the first one."""
    import io
    import tarfile

    import numpy as np
    from PIL import Image

    label = {"width": 16, "height": 16, "boxes": [[2, 2, 9, 9]], "labels": ["stub"]}
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(first, first + samples):
            image = np.full((16, 16, 3), number % 251, np.uint8)
            image[0, 0] = [number % 256, number // 256 % 256, number // 65536]
            png = io.BytesIO()
            Image.fromarray(image).save(png, "png", compress_level=1)
            for suffix, data in (("png", png.getvalue()), ("json", json.dumps(label).encode())):
                info = tarfile.TarInfo(f"{number:08d}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def _requests(chunk: Any, planned: Any) -> dict[str, int]:
    """What one chunk asks of the stores, by kind; a folder is asked as an object store would be."""
    from pipeline.chain.attempts import begin
    from pipeline.chain.under_way import attempted, begun
    from pipeline.chain.weave import weave_chunk
    from pipeline.chain.woven import RunContext
    from pipeline.sink.commit import commit_chunk
    from pipeline.source.plan import read_chunk
    from pipeline.storage.store import Store

    sink = Store("memory://requests")
    with _counted() as counts:
        encoded = read_chunk(chunk, planned.recipe.source)
        begin(sink, planned.run, chunk.id, "one")
        context = RunContext(planned.run, planned.digest, chunk.id)
        woven = [(c.row, c.members) for c in weave_chunk(encoded, planned.recipe, {}, context)]
        planned_copies = attempted(begun(encoded, planned.recipe))
        commit_chunk(sink, planned.run, chunk.id, woven, planned_copies)
    return dict(counts)


@contextmanager
def _counted() -> Iterator[Counter[str]]:
    from pipeline.storage.store import Store

    kinds = {"read": "GET", "stat": "HEAD", "create": "PUT", "entries": "LIST", "list": "LIST"}
    real, counts = {name: getattr(Store, name) for name in kinds}, Counter[str]()

    def counting(name: str) -> Any:
        def call(self: Store, *arguments: Any, **named: Any) -> Any:
            counts[kinds[name]] += 1
            return real[name](self, *arguments, **named)

        return call

    for name in kinds:
        setattr(Store, name, counting(name))
    try:
        yield counts
    finally:
        for name, function in real.items():
            setattr(Store, name, function)


def _resident() -> float:
    """MB of this process that it shares with nobody."""
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("RssAnon:")
    )
    return round(int(line.split()[1]) * 1024 / 1e6, 1)


def _all_cpu() -> float:
    """Seconds of this process and of all that it has started."""
    import psutil

    me = psutil.Process()
    return sum(_cpu_of(one) for one in (me, *me.children(recursive=True)))


def _cpu_of(process: Any) -> float:
    import psutil

    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
