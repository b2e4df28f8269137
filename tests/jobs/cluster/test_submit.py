"""Submitting: one job per recipe at a time, under a name that says which; without Ray."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from jobs.cluster.api import STOP_S, Job, find_job, job_digest, job_metadata
from jobs.cluster.package import make_package
from jobs.cluster.submit import Driver, submit
from jobs.stopping import GRACE_S
from schemas.errors import BusyError, ClusterError
from tests.jobs.cluster.fake_jobs import RECIPE, FakeJobs, recipe_file
from tests.jobs.sinks import planned_run

QUIET = Console(file=io.StringIO())


def submitted(jobs: FakeJobs, file: Path) -> str:
    return submit(jobs, make_package(file), QUIET)


def test_a_job_is_called_after_its_recipe_and_a_digest(tmp_path: Path) -> None:
    jobs = FakeJobs()
    job = submitted(jobs, recipe_file(tmp_path))
    assert re.fullmatch("cells@[0-9a-f]{8}", job)
    (order,) = jobs.orders
    assert order.command == "exec noiseloom run cells.yaml"
    assert (order.cpus, order.memory) == (0, 0)
    assert order.metadata == {
        "recipe": "cells",
        "digest": job.removeprefix("cells@"),
        "sink": "s3://lab/woven",
        "mlflow": "https://mlflow.example.com",
    }


def test_what_only_says_how_fast_and_who_is_told_makes_no_other_job(tmp_path: Path) -> None:
    jobs = FakeJobs()
    submitted(jobs, recipe_file(tmp_path))
    other = RECIPE.replace("https://mlflow.example.com", "https://other.example.com")
    with pytest.raises(BusyError, match=r"submitted and running; nothing was started"):
        submitted(jobs, recipe_file(tmp_path, other + "resources: {pool: [4, 4]}\n"))
    assert len(jobs.orders) == 1


@pytest.mark.parametrize("change", ["copies: 3", "sink: s3://lab/other", "seed: 1"])
def test_what_shapes_the_output_makes_another_job(tmp_path: Path, change: str) -> None:
    jobs = FakeJobs()
    first = submitted(jobs, recipe_file(tmp_path))
    key = change.partition(":")[0]
    text = "\n".join(ln for ln in RECIPE.splitlines() if not ln.startswith(key)) + f"\n{change}\n"
    assert submitted(jobs, recipe_file(tmp_path, text)) != first
    assert len(jobs.orders) == 2


@pytest.mark.parametrize("state", ["STOPPED", "FAILED", "SUCCEEDED"])
def test_a_job_that_has_ended_may_be_submitted_again_under_a_new_number(
    tmp_path: Path, state: str
) -> None:
    jobs = FakeJobs()
    file = recipe_file(tmp_path)
    first = submitted(jobs, file)
    jobs.end(first, state)  # type: ignore[arg-type]
    second = submitted(jobs, file)
    assert second == f"{first}-2"
    jobs.end(second, "FAILED")
    assert submitted(jobs, file) == f"{first}-3"


def test_numbers_go_on_after_the_tenth(tmp_path: Path) -> None:
    jobs = FakeJobs()
    file = recipe_file(tmp_path)
    base = submitted(jobs, file)
    jobs.end(base, "FAILED")
    for number in (10, 9):  # as a cluster that forgets old ones remembers them
        jobs.known[f"{base}-{number}"] = Job(f"{base}-{number}", "FAILED")
    assert submitted(jobs, file) == f"{base}-11"


def test_of_two_who_submit_at_the_same_moment_one_starts_it(tmp_path: Path) -> None:
    jobs = FakeJobs()
    file = recipe_file(tmp_path)
    jobs.rivals.append(lambda them: submitted(them, file) and None)
    with pytest.raises(BusyError):
        submitted(jobs, file)
    assert len(jobs.orders) == 1


def test_a_rival_whose_job_has_ended_already_takes_the_number_and_no_more(tmp_path: Path) -> None:
    jobs = FakeJobs()
    file = recipe_file(tmp_path)

    def rival(them: FakeJobs) -> None:
        them.end(submitted(them, file), "FAILED")

    jobs.rivals.append(rival)
    assert submitted(jobs, file).endswith("-2")


def test_the_driver_asks_for_what_it_is_told_and_never_for_a_gpu(tmp_path: Path) -> None:
    jobs = FakeJobs()
    package = make_package(recipe_file(tmp_path))
    submit(jobs, package, QUIET, Driver(cpus=2, memory=2**30), ("/mnt/lab", "/mnt/b"))
    (order,) = jobs.orders
    assert (order.cpus, order.memory) == (2, 2**30)
    assert order.variables["NOISELOOM_SHARED"] == "/mnt/lab:/mnt/b"
    assert not any("gpu" in name for name in vars(order))


def test_ray_gives_a_run_the_time_to_stop_in_order(tmp_path: Path) -> None:
    jobs = FakeJobs()
    submitted(jobs, recipe_file(tmp_path))
    assert jobs.orders[0].variables["RAY_JOB_STOP_WAIT_TIME_S"] == str(STOP_S)
    assert STOP_S > GRACE_S


def test_repositories_are_fetched_before_the_run(tmp_path: Path) -> None:
    text = RECIPE + "models: {turbo: {diffusers: org/model, revision: " + "a" * 40 + "}}\n"
    jobs = FakeJobs()
    submitted(jobs, recipe_file(tmp_path, text))
    fetch, run = jobs.orders[0].command.split(" && ")
    assert (fetch, run) == ("noiseloom models fetch cells.yaml", "exec noiseloom run cells.yaml")


def test_a_plan_in_the_sink_leads_back_to_the_job(tmp_path: Path) -> None:
    planned = planned_run(tmp_path)
    package = make_package(planned.file, shared=(str(tmp_path),))
    plan = json.loads(planned.to_json())
    assert job_digest(plan["recipe"]) == job_metadata("cells", package.recipe)["digest"]


def test_metadata_holds_no_secret(tmp_path: Path) -> None:
    package = make_package(recipe_file(tmp_path))
    tracking = package.recipe.tracking.model_copy(update={"uri": "https://me:pw-1234@host/x"})
    recipe = package.recipe.model_copy(update={"tracking": tracking})
    assert "pw-1234" not in str(job_metadata("cells", recipe))


def test_a_job_is_found_by_its_id_and_by_its_recipes_name() -> None:
    jobs = FakeJobs()
    for name in ("cells@00000000", "cells@00000000-2", "nuclei@11111111"):
        jobs.known[name] = Job(name, "FAILED", metadata={"recipe": name.partition("@")[0]})
    assert find_job(jobs, "cells@00000000").id == "cells@00000000"
    assert find_job(jobs, "cells").id == "cells@00000000-2"
    with pytest.raises(ClusterError, match=r"no job 'nuclei@1111'; did you mean nuclei@11111111\?"):
        find_job(jobs, "nuclei@1111")
    with pytest.raises(ClusterError, match="it knows none at all"):
        find_job(FakeJobs(), "cells")
