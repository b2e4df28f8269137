"""Whole runs as a person starts them: processes of their own, a real Ray, a real SIGKILL."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
import webdataset

from pipeline.index.files import read_index
from pipeline.storage.store import Store
from tests.jobs.workplace import (
    CHUNKS,
    CLASSIC,
    COPIES,
    OPS,
    SAMPLES,
    Workplace,
    kill,
    workplace,
    write_source,
)
from tests.pipeline.shards import sample_files, tar_of

GATES = "gates: [{kind: near_duplicate, max_copies: null, max_others: 1}]"
"""Needs the fingerprints of the whole source, and rejects nothing."""

OWN = OPS.replace("p: 0.6}", "p: 0.6, resources: {cpus: 0.5, pool: [1, 2]}}")
"""The same, with a pool for the op in the middle."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("source"))


@dataclass(frozen=True)
class Done:
    """A finished run, and what it said."""

    place: Workplace
    said: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Done:
    """One worker, nobody interferes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    place = workplace(folder, source, tracking="'sqlite:///m.db'", more=GATES)
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


def test_workers_in_pools_of_their_own_make_the_same_bytes_as_one(
    undisturbed: Done, source: Path, tmp_path: Path
) -> None:
    place = workplace(tmp_path / "own", source, OWN, pool="[1, 2], cpus: 0.25", more=GATES)
    done = place.run()
    assert done.returncode == 0, done.stderr
    assert place.left() == undisturbed.place.left()
    for said in ("noise_denoise#1", "0.5 CPUs", "bottleneck: noise_denoise#1", "1 to 2"):
        assert said in done.stderr
    stages = place.record()["stages"]
    assert [stage["stage"].split(" ")[0] for stage in stages] == [
        "classic#0",
        "noise_denoise#1",
        "inpaint#2",
    ]
    assert all(stage["seconds"] > 0 for stage in stages)


def test_a_killed_run_goes_on_where_it_was_with_the_result_of_an_undisturbed_one(
    undisturbed: Done, source: Path, tmp_path: Path
) -> None:
    place = workplace(tmp_path / "killed", source, more=GATES)
    process = place.start()
    place.wait_for_commits(process, 2)
    kill(process)
    assert place.pending() < CHUNKS
    assert list(place.sink.glob("index/*.parquet")) == []

    workplace(place.folder, source, OWN, pool="[1, 1], cpus: 0.25", more=GATES)  # the same run
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
    assert len(done.stderr.splitlines()) < 14, "of which the table of stages is eight"


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
