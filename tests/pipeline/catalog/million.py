"""How long an index of a million rows takes to open, and how much memory: a measurement, no test.

    python -m tests.pipeline.catalog.million [ROWS]

Makes an index as a run would publish it (3 members, 2 ops with their draws and 12 objects a row, 64
rows a chunk), opens it in a process of its own, all of it and filtered, and prints seconds (those
on the wall, and those of the processor, which others on the machine do not lengthen) and the peak
of the resident memory, that of Python with its libraries included.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.index.files import ROW_GROUP
from schemas.index import INDEX_SCHEMA

ROWS = 1_000_000
CHUNK = 64
RUN = "million"

LOOK = """
import re, sys, time
from pathlib import Path
from pipeline.catalog import woven
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
before, started, cpu = peak(), time.perf_counter(), time.process_time()
catalog = woven(sys.argv[1], runs=["million"], where=sys.argv[2] or None)
seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
print(f"{len(catalog):>9,} samples in {seconds:.2f} s ({cpu:.2f} s of one core);", end=" ")
print(f"{before:.0f} MB before, {peak():.0f} MB peak")
"""


def rows(first: int, count: int) -> pa.Table:
    """Rows that differ as those of a run do: hashes, draws and places are all different."""
    rng = np.random.default_rng(first)
    number = np.arange(first, first + count)
    keys = [f"train/image-{n // 2:08d}-{n % 2:03d}" for n in number]
    hexes = [rng.bytes(8).hex() for _ in number]
    names = [(f"{k}.png", f"{k}.json", f"{k}.seg.png") for k in keys]
    boxes = rng.uniform(0, 600, (count, 12, 4)).round(2).tolist()
    seeds = rng.integers(2**53, size=(count, 2)).tolist()
    values: dict[str, list[object]] = {name: [None] * count for name in INDEX_SCHEMA.names}
    values |= {
        "sample_id": hexes,
        "status": ["rejected" if n % 20 == 0 else "kept" for n in number],
        "repairs": [[]] * count,
        "source_shard": [f"s3://lab/cells/train-{n // 2000:06d}.tar" for n in number],
        "source_key": [k[:-4] for k in keys],
        "source_hash": [h[::-1] * 2 for h in hexes],
        "copy": (number % 2).tolist(),
        "chunk": [f"{n // CHUNK:016x}" for n in number],
        "shard": [f"shards/{n // CHUNK:016x}.{n // CHUNK * 7919 % 2**32:08x}.tar" for n in number],
        "key": keys,
        "members": [
            [{"name": m, "offset": int(n % CHUNK * 600_000 + 512), "size": 1000} for m in three]
            for n, three in zip(number, names, strict=True)
        ],
        "width": [640] * count,
        "height": [480] * count,
        "boxes": boxes,
        "labels": [["RBC", "WBC", "Platelets"] * 4] * count,
        "ops": [
            [
                {
                    "step": "noise_denoise#0",
                    "kind": "noise_denoise",
                    "model": "0123456789abcdef",
                    "strength": s[0] / 2**53,
                    "draw": json.dumps({"seed": s[0], "strength": 0.25}),
                },
                {
                    "step": "inpaint#1",
                    "kind": "inpaint" if s[1] % 2 else "restyle",
                    "model": None,
                    "strength": None,
                    "draw": json.dumps({"seed": s[1]}),
                },
            ]
            for s in seeds
        ],
        "psnr": rng.uniform(20, 40, count).tolist(),
        "ssim": rng.uniform(0, 1, count).tolist(),
        "scores": [[{"gate": "ssim", "score": s[0] / 2**53}] for s in seeds],
        "seed": [7] * count,
        "run": [RUN] * count,
        "recipe": ["0123456789abcdef"] * count,
        "schema_version": [2] * count,
    }
    return pa.table(values, schema=INDEX_SCHEMA)


def batches(total: int) -> Iterator[pa.Table]:
    for first in range(0, total, ROW_GROUP):
        yield rows(first, min(ROW_GROUP, total - first))


def write_sink(folder: Path, total: int) -> int:
    """A sink of one published run without its tars; bytes of its index."""
    (folder / "index").mkdir()
    (folder / "runs").mkdir()
    source = {"labels": "json", "segmentation": "seg.png", "classes": None, "seg_classes": None}
    plan = {"recipe": {"source": source}}
    (folder / "runs" / f"{RUN}.plan.json").write_text(json.dumps(plan))
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, INDEX_SCHEMA, compression="zstd") as writer:
        for table in batches(total):
            writer.write_table(table, row_group_size=ROW_GROUP)
    (folder / "index" / f"{RUN}.parquet").write_bytes(buffer.getvalue())
    return buffer.tell()


def main(total: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        size = write_sink(Path(name), total)
        sys.stdout.write(f"an index of {total:,} rows, {size / 2**20:.0f} MiB\n")
        for where in ("", "ssim > 0.4 and op = 'inpaint'"):
            said = subprocess.run(
                [sys.executable, "-c", LOOK, name, where],
                capture_output=True,
                text=True,
                check=True,
            )
            sys.stdout.write(f"{where or 'all':30} {said.stdout}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
