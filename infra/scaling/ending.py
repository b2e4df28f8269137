"""`python infra/scaling/ending.py --chunks 2500 5000`: what the end of a run takes in the driver.

Chunks of 64 rows, as a run with one op and one gate leaves them, are counted, published, counted
again, a contact sheet is chosen and the description written: all that `jobs.run.augment` does with
the index of a run. Printed are the most memory that this took beyond what was there before, and
seconds of CPU, for each number of chunks in a process of its own; two of them, of some row groups
each, tell what a row takes. All chunks have the same 64 rows, so the index file is next to nothing:
its own bytes, 270 a row in a real run, are held besides while it is written.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

ROWS = 64
TAR = "shards/stubs.00000000.tar"


def main() -> None:
    """One process for each number of chunks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chunks", type=int, nargs="+", default=[2500, 5000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        sys.stdout.write(json.dumps(ended(arguments.one)) + "\n")
        return
    for chunks in arguments.chunks:
        command = [sys.executable, __file__, "--one", str(chunks)]
        subprocess.run(command, check=True)  # noqa: S603


def ended(chunks: int) -> dict[str, float]:
    """The end of a run of so many chunks."""
    from jobs.run.counts import count_run
    from jobs.run.sheet_choice import COLUMNS, chosen
    from pipeline.index.croissant import describe
    from pipeline.index.files import (
        index_batches,
        index_file,
        pending_path,
        rows_at,
    )
    from pipeline.sink.publication import publish
    from pipeline.storage.store import Store
    from schemas.index import INDEX_SCHEMA

    with tempfile.TemporaryDirectory(prefix="noiseloom-scaling-") as folder:
        store, names = Store(f"{folder}/out"), [f"{number:016x}" for number in range(chunks)]
        table, at = _rows(), INDEX_SCHEMA.names.index("chunk")
        store.create(TAR, b"")
        for name in names:
            mine = table.set_column(at, INDEX_SCHEMA.field(at), pa.array([name] * ROWS))
            store.create(pending_path("r", name), index_file([mine]))
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM counts from here
        before, start = _kilobytes("VmHWM"), time.process_time()
        count_run(store, "r")
        publish(store, "r", names)
        count_run(store, "r")
        rows_at(store, "r", chosen(index_batches(store, "r", COLUMNS), 12))
        describe(store, "r")
        rows = chunks * ROWS
        return {
            "rows": rows,
            "most_mb": round((_kilobytes("VmHWM") - before) * 1024 / 1e6, 1),
            "cpu_us_per_row": round(1e6 * (time.process_time() - start) / rows, 1),
        }


def _rows() -> pa.Table:
    from schemas.index import AppliedOp, IndexRow, Member, Score, rows_to_table

    rng = random.Random(0)

    def row() -> IndexRow:
        key = f"{rng.randrange(10**8):08d}"
        places = [(suffix, rng.randrange(10**8)) for suffix in ("png", "json")]
        members = tuple(Member(f"{key}-000.{suffix}", at, 3000) for suffix, at in places)
        values: dict[str, Any] = dict.fromkeys(("reason", "detail", "quarantine"))
        return IndexRow(
            sample_id=f"{rng.getrandbits(64):016x}",
            status="kept",
            repairs=(),
            source_shard="in/a.tar",
            source_key=key,
            source_hash=f"{rng.getrandbits(128):032x}",
            copy=0,
            chunk="",
            shard=TAR,
            key=f"{key}-000",
            members=members,
            width=64,
            height=64,
            boxes=((1.0, 2.0, 9.5, 9.5),),
            labels=("cell",),
            ops=(AppliedOp("fade#0", "fade", None, 0.5, f'{{"strength":{rng.random()}}}'),),
            psnr=rng.random(),
            ssim=rng.random(),
            scores=(Score("sharpness.laplacian", rng.random()),),
            seed=7,
            run="r",
            recipe="d" * 16,
            **values,
        )

    return rows_to_table([row() for _ in range(ROWS)])


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
