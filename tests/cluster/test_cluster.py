"""A recipe on a real cluster of two nodes, as a job: source and sink in S3, MLflow a server.

One story for all tests: submitted, refused a second time, stopped in order, submitted again,
followed, one of the two nodes lost, finished; and then the cluster is gone, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.sink.progress import Progress, progress_of, runs_in
from pipeline.sink.publication import current_runs
from pipeline.storage.store import Store
from schemas.recipe import Tracking
from tests.chaos.arena import INSIDE, ROOT
from tests.chaos.cluster import busy
from tests.chaos.orders import VARIABLE, Order, Orders
from tests.cluster.nodes import Cluster, two_nodes
from tests.jobs.mlflow_look import only_run
from tests.jobs.mlflow_server import MlflowServer
from tests.jobs.sinks import verified
from tests.models import tiny_denoiser
from tests.pipeline.shards import sample_files, tar_of
from tests.s3.server import FOREIGN, S3

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

CHUNKS = 12
COPIES = 2 * 2 * CHUNKS  # two of each sample, two samples in a chunk
PATIENCE_S = 240
COMMAND = (sys.executable, "-c", "from jobs.cli.main import main; main()")


@dataclass
class Told:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


@dataclass
class Story:
    """What happened, in this order."""

    submitted: Told
    twice: Told
    status: Told
    stopped: Told
    after_stop: Progress
    followed: Told
    killed: bool
    log: Told
    status_after: Told
    gone: Told
    sink_alone: Told
    sink: str
    mlflow: str
    secrets: list[str] = field(default_factory=list)

    @property
    def job(self) -> str:
        return self.submitted.err.partition(":")[0]


def noiseloom(folder: Path, variables: dict[str, str], *arguments: str) -> Told:
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Told(done.returncode, done.stdout, done.stderr)


def write_recipe(folder: Path, bucket: str, mlflow: str) -> Path:
    """And its model beside it, which travels; the shards are in the bucket."""
    for number in range(2):
        keys = [f"s{number}{n:02d}" for n in range(CHUNKS)]
        files = [file for key in keys for file in sample_files(key, 48, 48)]
        Store(bucket).create(f"cells/train-{number}.tar", tar_of(files))
    tiny_denoiser(folder / "denoiser", classes=("cell",))
    recipe = folder / "cells.yaml"
    recipe.write_text(
        f"source: {{shards: '{bucket}/cells/train-*.tar', segmentation: seg.png}}\n"
        f"sink: {bucket}/woven\nseed: 7\ncopies: 2\nchunk_size: 2\n"
        "ops:\n"
        "  - {kind: noise_denoise, model: denoiser, strength: [0.2, 0.4], steps: 2, p: 0.5}\n"
        "  - {kind: classic, transforms: [{HorizontalFlip: {p: 0.5}}]}\n"
        "models: {denoiser: {native: denoiser}}\n"
        "resources: {pool: [2, 2]}\n"
        f"tracking: {{uri: '{mlflow}', experiment: cells}}\n"
    )
    return recipe


@pytest.fixture(scope="module")
def s3_variables(s3_server: S3) -> Iterator[dict[str, str]]:
    with pytest.MonkeyPatch.context() as patch:
        for name in FOREIGN:
            patch.delenv(name, raising=False)
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        yield s3_server.environment()


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory, s3_server: S3, s3_variables: dict[str, str]
) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("cluster")
    orders = Orders(tmp_path_factory.mktemp("orders"))
    mlflow = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    bucket = s3_server.bucket()
    write_recipe(folder, bucket, mlflow.uri)
    door = {"PYTHONPATH": f"{INSIDE}{os.pathsep}{ROOT}", VARIABLE: str(orders.folder)}
    try:
        mlflow.start()
        with two_nodes({**s3_variables, **door}) as cluster:
            yield told(folder, cluster, orders, f"{bucket}/woven", mlflow.uri)
    finally:
        mlflow.kill()


def told(folder: Path, cluster: Cluster, orders: Orders, sink: str, mlflow: str) -> Story:
    def run(*arguments: str) -> Told:
        return noiseloom(folder, cluster.variables, *arguments)

    orders.give(Order("hold", "weave", "", "sleep", nth=4, times=10**6, seconds=10**3))
    submitted = run("submit", "cells.yaml")
    until(lambda: committed(sink) >= 2, submitted)
    twice = run("submit", "cells.yaml")
    status = run("status")
    stopped = run("stop", "cells")
    after_stop = only_progress(sink)

    orders.withdraw()
    orders.give(Order("slow", "weave", "", "sleep", times=10**6, seconds=2.0))
    with subprocess.Popen(
        [*COMMAND, "submit", "cells.yaml", "--follow"],
        cwd=folder,
        env={**os.environ, **cluster.variables, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        before = committed(sink)
        until(lambda: committed(sink) > before and bool(busy(cluster.second.process.pid)), process)
        cluster.second.kill()
        killed = committed(sink) < CHUNKS
        orders.withdraw()
        out, err = process.communicate(timeout=PATIENCE_S)
        followed = Told(process.returncode, out, err)
    log, status_after = run("logs", "cells"), run("status", "cells")
    cluster.head.kill()
    gone, alone = run("status", "cells"), run("status", sink)
    return Story(
        submitted,
        twice,
        status,
        stopped,
        after_stop,
        followed,
        killed,
        log,
        status_after,
        gone,
        alone,
        sink,
        mlflow,
        [cluster.variables["RAY_AUTH_TOKEN"]],
    )


def only_progress(sink: str) -> Progress:
    store = Store(sink)
    (one,) = progress_of(store, runs_in(store))
    return one


def committed(sink: str) -> int:
    store = Store(sink)
    return sum(one.committed for one in progress_of(store, runs_in(store)))


def until(condition: object, about: object) -> None:
    """Waits, far longer than it takes; and not for a process that has ended."""
    assert callable(condition)
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if isinstance(about, subprocess.Popen) and about.poll() is not None:
            raise AssertionError(about.communicate())
        if isinstance(about, Told) and about.code:
            raise AssertionError(about)
        assert time.monotonic() < end, about
        time.sleep(0.2)


def test_a_recipe_is_submitted_with_its_model_and_nothing_is_warned_of(story: Story) -> None:
    assert story.submitted.code == 0, story.submitted
    assert story.job.startswith("cells@")
    assert "warning" not in story.submitted.err  # a token is asked for, and nothing leaves loopback


def test_the_same_recipe_is_not_started_twice(story: Story) -> None:
    assert story.twice.code == 7
    (line,) = story.twice.err.splitlines()
    assert story.job in line and "is submitted and running" in line


def test_status_shows_job_and_run_with_progress(story: Story) -> None:
    assert story.status.code == 0, story.status
    lines = story.status.out.splitlines()
    of_job = next(i for i, line in enumerate(lines) if story.job in line)
    assert "running" in lines[of_job]
    assert "under way" in lines[of_job - 1] and f"/{CHUNKS} " in lines[of_job - 1]
    assert f"MLflow {story.mlflow}" in story.status.out


def test_stop_ends_it_in_order_and_what_is_committed_stays(story: Story) -> None:
    assert story.stopped.code == 0, story.stopped
    assert "stopped; what is committed stays" in story.stopped.err
    assert story.after_stop.state == "under way"
    assert story.after_stop.committed in (2, 3)  # the others were held


def test_submitted_again_it_is_a_job_of_its_own_that_goes_on(story: Story) -> None:
    assert story.followed.err.startswith(f"{story.job}-2: submitted")
    assert f"{CHUNKS} chunks, " in story.followed.out and "committed before" in story.followed.out


def test_a_node_is_lost_and_the_job_finishes_all_the_same(story: Story) -> None:
    assert story.killed
    assert story.followed.code == 0, story.followed
    assert f"{CHUNKS}/{CHUNKS} chunks" in story.followed.out
    assert f"{story.job}-2: has ended" in story.followed.err
    store = Store(story.sink)
    assert len(current_runs(store)) == 1
    assert f"{COPIES} copies" in verified(story.sink)


def test_the_log_is_what_was_followed(story: Story) -> None:
    assert story.log.code == 0
    assert story.log.out == story.followed.out


def test_mlflow_has_the_run_and_status_links_to_it(story: Story) -> None:
    _, run = only_run(Tracking(uri=story.mlflow, experiment="cells"))
    assert run.info.status == "FINISHED"
    assert f"{story.mlflow}/#/runs/{run.info.run_id}" in story.status_after.out


def test_when_the_cluster_is_gone_the_sink_alone_tells(story: Story) -> None:
    assert story.gone.code == 2
    assert len(story.gone.err.splitlines()) == 1 and "nothing answers there" in story.gone.err
    assert story.sink_alone.code == 0
    assert "from the sink alone" in story.sink_alone.err
    (row,) = [line for line in story.sink_alone.out.splitlines() if "published" in line]
    assert f" {CHUNKS}/{CHUNKS} " in row and f" {COPIES} " in row


def test_no_command_tells_the_token(story: Story) -> None:
    said = [value.out + value.err for value in vars(story).values() if isinstance(value, Told)]
    assert len(said) == 9
    assert not any(secret in text for secret in story.secrets for text in said)
