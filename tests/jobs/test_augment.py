"""Whole runs as a person starts them: processes of their own, a real Ray, a real SIGKILL."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
import webdataset

from pipeline.sink import read_index
from pipeline.store import Store
from tests.models import tiny_denoiser, tiny_upscaler
from tests.pipeline.shards import sample_files, tar_of

ROOT = Path(__file__).parents[2]
SAMPLES, COPIES, CHUNKS = 36, 2, 12

CLASSIC = "- {kind: classic, transforms: [{HorizontalFlip: {p: 0.5}}]}"
OPS = f"""
{CLASSIC}
- {{kind: noise_denoise, model: denoiser, strength: [0.2, 0.4], steps: 3, p: 0.6}}
- {{kind: inpaint, model: denoiser, region: background, steps: 3, p: 0.3}}
- {{kind: super_resolve, model: upscaler, scale: 2, then: keep, p: 0.3}}
"""


@dataclass(frozen=True)
class Workplace:
    """A folder with one recipe in it."""

    folder: Path

    @property
    def sink(self) -> Path:
        return self.folder / "out"

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(),
            cwd=self.folder,
            env=self._environment(**environment),
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self) -> subprocess.Popen[bytes]:
        """In a session of its own, so that it can be killed with all that it has started."""
        with (self.folder / "said.txt").open("w") as said:
            return subprocess.Popen(
                self._command(),
                cwd=self.folder,
                env=self._environment(),
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def pending(self) -> int:
        return len(list(self.sink.glob("index/_pending/*/*.parquet")))

    def left(self) -> dict[str, bytes]:
        """Every file of the result that holds no time: shards and published index."""
        files = [*self.sink.glob("shards/*.tar"), *self.sink.glob("index/*.parquet")]
        return {path.name: path.read_bytes() for path in sorted(files)}

    def record(self) -> dict[str, dict[str, float]]:
        (path,) = (p for p in self.sink.glob("runs/*.json") if not p.name.endswith(".plan.json"))
        record: dict[str, dict[str, float]] = json.loads(path.read_bytes())
        return record

    def _command(self) -> list[str]:
        code = "from jobs.cli import main; main()"
        return [sys.executable, "-c", code, "run", "cells.yaml"]

    def _environment(self, **environment: str) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", **environment}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for number in range(2):
        keys = [f"s{number}{n:02d}" for n in range(SAMPLES // 2)]
        sizes = {key: 96 + 8 * (i % 3) for i, key in enumerate(keys)}
        files = [file for key in keys for file in sample_files(key, sizes[key], width=128)]
        (folder / f"train-{number}.tar").write_bytes(tar_of(files))
    tiny_denoiser(folder / "denoiser", classes=("cell",))
    tiny_upscaler(folder / "upscaler")
    return folder


def workplace(
    folder: Path,
    source: Path,
    ops: str = OPS,
    pool: str = "[1, 1]",
    tracking: str = "null",
) -> Workplace:
    """By default a recipe of all ops, with models that are tiny and know nothing."""
    folder.mkdir(exist_ok=True)
    models = ", ".join(
        f"{name}: {{native: '{source}/{name}'}}" for name in ("denoiser", "upscaler")
    )
    models = models if "model:" in ops else ""
    text = (
        f"source: {{shards: '{source}/train-*.tar', segmentation: seg.png}}\n"
        f"sink: out\nseed: 7\ncopies: {COPIES}\nchunk_size: 3\n"
        f"resources: {{pool: {pool}}}\ntracking: {{uri: {tracking}}}\n"
        f"models: {{{models}}}\nops:\n{ops}\n"
    )
    (folder / "cells.yaml").write_text(text)
    return Workplace(folder)


@dataclass(frozen=True)
class Done:
    """A finished run, and what it said."""

    place: Workplace
    said: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Done:
    """One worker, nobody interferes."""
    place = workplace(tmp_path_factory.mktemp("undisturbed"), source, tracking="'sqlite:///m.db'")
    return Done(place, place.run())


def test_a_run_ends_with_a_summary_that_says_where_to_look(undisturbed: Done) -> None:
    said, place = undisturbed.said, undisturbed.place
    assert said.returncode == 0, said.stderr
    assert said.stdout == ""
    for word in (
        "72 of 72 copies",
        "out/shards",
        "out/index/cells-",
        "out/runs/",
        "noiseloom verify",
    ):
        assert word in said.stderr
    assert len(list(place.sink.glob("runs/cells-*.png"))) == 1
    assert place.record()["counts"]["kept"] == SAMPLES * COPIES


def test_a_run_is_quiet_otherwise(undisturbed: Done) -> None:
    for word in ("Traceback", "WARN", "INFO", "ray", "alembic", ".py:", ".cc:"):
        assert word not in undisturbed.said.stderr
    assert len(undisturbed.said.stderr.splitlines()) < 60


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves them open
def test_any_reader_of_webdataset_and_parquet_reads_the_result(undisturbed: Done) -> None:
    place = undisturbed.place
    urls = [str(path) for path in sorted(place.sink.glob("shards/*.tar"))]
    read = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).decode("rgb8")
    samples = {item["__key__"]: item["png"].shape for item in read}
    index = duckdb.sql(
        f"select key, height, width, psnr from '{place.sink}/index/*.parquet' where status = 'kept'"
    ).fetchall()
    assert len(samples) == SAMPLES * COPIES
    assert samples == {key: (height, width, 3) for key, height, width, _ in index}


def test_a_run_is_in_mlflow(undisturbed: Done) -> None:
    with sqlite3.connect(undisturbed.place.folder / "m.db") as database:
        ((status,),) = database.execute("select status from runs").fetchall()
        metrics = dict(database.execute("select key, value from latest_metrics").fetchall())
    database.close()
    assert status == "FINISHED"
    assert metrics["kept"] == metrics["attempted"] == SAMPLES * COPIES
    assert metrics["images_per_second"] > 0


def test_a_run_that_is_published_starts_neither_ray_nor_a_model_again(undisturbed: Done) -> None:
    before = undisturbed.place.left()
    again = undisturbed.place.run(RAY_ADDRESS="127.0.0.1:1")  # Ray could not be joined there
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stderr
    assert undisturbed.place.left() == before


def test_two_workers_make_the_same_bytes_as_one(
    undisturbed: Done, source: Path, tmp_path: Path
) -> None:
    place = workplace(tmp_path / "two", source, pool="[2, 2]")
    assert place.run().returncode == 0
    assert place.left() == undisturbed.place.left()


def test_a_killed_run_goes_on_where_it_was_with_the_result_of_an_undisturbed_one(
    undisturbed: Done, source: Path, tmp_path: Path
) -> None:
    place = workplace(tmp_path / "killed", source)
    process = place.start()
    while place.pending() < 2:
        assert process.poll() is None, (place.folder / "said.txt").read_text()
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert place.pending() < CHUNKS
    assert list(place.sink.glob("index/*.parquet")) == []

    again = place.run()
    assert again.returncode == 0, again.stderr
    found = re.search(r"12 chunks, (\d+) of them committed before", again.stderr)
    assert found is not None
    done_again = CHUNKS - int(found[1])
    assert 0 < done_again <= CHUNKS - 2
    assert place.record()["last_session"]["images"] == done_again * 3 * COPIES
    assert place.left() == undisturbed.place.left()


def test_a_sink_that_cannot_be_written_ends_the_run_in_one_message(
    source: Path, tmp_path: Path
) -> None:
    place = workplace(tmp_path / "blocked", source, CLASSIC)
    place.sink.mkdir()
    (place.sink / "shards").write_text("a file where the folder should be")
    done = place.run()
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "ray" not in done.stderr
    assert "shards" in done.stderr
    assert len(done.stderr.splitlines()) < 10


def test_too_many_failures_stop_the_run_and_a_larger_budget_goes_on_from_there(
    source: Path, tmp_path: Path
) -> None:
    files = [file for n in range(12) for file in sample_files(f"k{n:02d}")]
    broken = [(name, b"?" if "k03.png" in name or "k07.png" in name else d) for name, d in files]
    (tmp_path / "train-0.tar").write_bytes(tar_of(broken))
    place = workplace(tmp_path / "failing", tmp_path, CLASSIC)
    stopped = place.run()
    assert stopped.returncode == 4
    assert "unknown_format" in stopped.stderr
    assert "budget.failed" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert list(place.sink.glob("index/*.parquet")) == []

    text = (place.folder / "cells.yaml").read_text()
    (place.folder / "cells.yaml").write_text(text + "budget: {failed: 0.5}\n")
    again = place.run()
    assert again.returncode == 0, again.stderr
    statuses = read_index(Store(str(place.sink)))["status"].to_pylist()
    assert (statuses.count("kept"), statuses.count("failed")) == (20, 4)
