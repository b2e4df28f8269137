"""The starter, against an API server on loopback: one night at a time, and its end told truly."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobs.scheduling import starter
from jobs.scheduling.starter import NIGHT_OF, Api, ApiError, run_night
from schemas.errors import RunError
from tests.jobs.scheduling.api_server import TOKEN, Cluster, serve

MANIFEST: dict[str, Any] = {
    "apiVersion": "ray.io/v1",
    "kind": "RayJob",
    "metadata": {"name": "noiseloom-cells", "namespace": "lab"},
    "spec": {},
}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def api(cluster: Cluster, tmp_path: Path) -> Iterator[Api]:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with serve(cluster) as url:
        yield Api(url, "lab", tmp_path, poll_s=0.001)


def tonight(api: Api, night: str = "tonight") -> str:
    said = io.StringIO()
    run_night(api, MANIFEST, night, Console(file=said, width=200))
    return said.getvalue()


def test_a_night_is_created_and_waited_for(api: Api, cluster: Cluster) -> None:
    assert "noiseloom-cells: created" in tonight(api)
    assert cluster.running == 0 and cluster.made == 1
    assert cluster.job is not None
    assert cluster.job["metadata"]["annotations"][NIGHT_OF] == "tonight"


def test_the_night_before_is_removed_before_the_next_is_created(api: Api, cluster: Cluster) -> None:
    tonight(api, "monday")
    tonight(api, "tuesday")
    assert (cluster.made, cluster.most_running) == (2, 1)
    assert cluster.log.count("DELETE") == 1


def test_a_night_that_still_runs_is_waited_for_and_no_other_is_started(
    api: Api, cluster: Cluster
) -> None:
    cluster.put(MANIFEST | {"metadata": {**MANIFEST["metadata"], "annotations": {}}})
    assert "the night before still runs" in tonight(api)
    assert (cluster.made, cluster.most_running) == (1, 1)


def test_a_starter_that_was_lost_is_replaced_by_one_that_finds_the_same_night(
    api: Api, cluster: Cluster
) -> None:
    tonight(api)
    tonight(api)  # the first one's pod was taken away just before it could say how it ended
    assert cluster.made == 1 and "DELETE" not in cluster.log


def test_two_starters_at_once_make_one_night(api: Api, cluster: Cluster) -> None:
    cluster.put(MANIFEST | {"metadata": {**MANIFEST["metadata"], "annotations": {}}})
    assert api.create(MANIFEST) is False
    assert cluster.made == 1


@pytest.mark.parametrize(
    "end",
    [
        {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed"},
        {"jobDeploymentStatus": "Failed", "jobStatus": "RUNNING", "reason": "DeadlineExceeded"},
        {"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"},
        {"jobDeploymentStatus": "ValidationFailed", "message": "invalid"},
    ],
)
def test_every_end_but_success_is_a_failed_night(
    api: Api, cluster: Cluster, end: dict[str, str]
) -> None:
    cluster.end = end
    with pytest.raises(RunError, match="the next night goes on from there"):
        tonight(api)


def test_a_retry_of_kuberay_is_no_end(api: Api, cluster: Cluster) -> None:
    cluster.put(MANIFEST)
    assert cluster.job is not None
    cluster.job["status"] = {"jobDeploymentStatus": "Retrying", "jobStatus": "FAILED"}
    tonight(api)
    assert cluster.running == 0


@pytest.mark.parametrize("after", [2, 4])
def test_a_night_that_somebody_deletes_is_a_failed_one(
    api: Api, cluster: Cluster, after: int
) -> None:
    cluster.asked, cluster.deleted_after = 1000, after
    with pytest.raises(RunError, match="somebody has deleted it"):
        tonight(api)
    assert cluster.made == 1


@pytest.mark.parametrize("status", [500, 503, 429, 401])
def test_what_may_pass_is_asked_again(api: Api, cluster: Cluster, status: int) -> None:
    cluster.refuse = [status] * 5
    tonight(api)
    assert cluster.made == 1


def test_an_api_server_that_never_answers_ends_the_starter_to_be_tried_again(
    api: Api, cluster: Cluster
) -> None:
    cluster.refuse = [503] * starter.PATIENCE
    with pytest.raises(ApiError, match=r"503 .* 40 times in a row"):
        tonight(api)
    assert ApiError.exit_code != starter.NIGHT_FAILED


def test_a_right_that_is_missing_is_said_at_once(api: Api, cluster: Cluster) -> None:
    (api.account / "token").write_text("stranger")
    with pytest.raises(ApiError, match=r"GET .*/rayjobs/noiseloom-cells: 403"):
        tonight(api)
    assert len(cluster.log) == 1
