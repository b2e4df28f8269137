"""Status, logs, follow and stop over a cluster that is a fake, and sinks that are real."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from jobs.cluster.api import Job, JobState, job_digest
from jobs.cluster.follow import follow_job, logs
from jobs.cluster.status import Line, is_sink, print_lines, sink_lines, status
from jobs.cluster.stop import stop
from jobs.run.plan import RunPlan, write_plan
from pipeline.sink.progress import Progress
from pipeline.sink.run_files import Outcomes
from tests.jobs.cluster.fake_jobs import FakeJobs
from tests.jobs.sinks import planned_run

JOB = "cells@00000000"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def console() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=200), text


def shown(lines: list[Line]) -> str:
    to, text = console()
    print_lines(lines, to, now=NOW)
    return text.getvalue()


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    made = planned_run(tmp_path_factory.mktemp("watched"))
    write_plan(made)
    return made


def job_of(planned: RunPlan, job: str = JOB, state: JobState = "RUNNING") -> Job:
    digest = job_digest(json.loads(planned.to_json())["recipe"])
    return Job(
        job,
        state,
        metadata={"recipe": "cells", "digest": digest, "sink": planned.recipe.sink},
    )


def running(*jobs: Job) -> FakeJobs:
    return FakeJobs(known={job.id: job for job in jobs})


def test_a_sink_is_told_from_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    assert [is_sink(name) for name in ("s3://lab/woven", "out", "out/cells", JOB, "cells")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_the_job_and_the_run_that_it_makes_are_one_line(planned: RunPlan) -> None:
    other = replace(job_of(planned, "cells@11111111"), metadata={"recipe": "cells"})
    jobs = running(job_of(planned), other)
    of_job = status(jobs, JOB)
    assert [(line.job and line.job.id, line.progress and line.progress.run) for line in of_job] == [
        (JOB, planned.run)
    ]
    (of_sink,) = sink_lines(planned.recipe.sink, jobs.all())
    assert (of_sink.job, of_sink.progress) == (of_job[0].job, of_job[0].progress)
    assert len(status(jobs, None)) == 2
    text = shown(of_job)
    assert (
        planned.run in text
        and JOB in text
        and "running" in text
        and "planned" in text
        and "0/3" in text
    )


def test_a_job_that_has_not_planned_yet_is_shown_without_a_run(
    planned: RunPlan, tmp_path: Path
) -> None:
    waiting = replace(job_of(planned), state="PENDING", message="waiting for resources")
    waiting = replace(waiting, metadata={**waiting.metadata, "sink": str(tmp_path)})
    text = shown(status(running(waiting), None))
    assert JOB in text and "pending" in text and f"{JOB}: waiting for resources" in text


def test_a_sink_that_cannot_be_read_hides_no_other_job(planned: RunPlan) -> None:
    bad = replace(job_of(planned, "cells@2"), metadata={"recipe": "cells", "sink": "ftp://x/y"})
    lines = status(running(job_of(planned), bad), None)
    assert lines[0].progress is not None
    assert "'ftp' is none of" in shown(lines)


def test_a_sink_alone_tells_without_any_job(planned: RunPlan) -> None:
    (line,) = sink_lines(planned.recipe.sink)
    assert line.job is None and line.progress is not None


def progress(**changes: object) -> Progress:
    one = Progress(
        "cells-1",
        "under way",
        40,
        160,
        10,
        Outcomes(30, 8, 2),
        rate=2.0,
        changed=NOW - timedelta(seconds=65),
        mlflow="http://m/#/runs/a",
    )
    return replace(one, **changes)  # type: ignore[arg-type]


def test_the_table_has_pace_counts_time_left_and_the_link() -> None:
    text = shown([Line(progress=progress())])
    for part in ("10/40", "2.0", " 30 ", " 8 ", " 2 ", "1:00", "1 min ago", "http://m/#/runs/a"):
        assert part in text, part


def test_time_left_is_told_only_while_somebody_may_work_on_it() -> None:
    over = Job(JOB, "FAILED", message="x")
    assert "1:00" not in shown([Line(over, progress())])
    assert "1:00" not in shown([Line(progress=progress(state="published"))])


def test_counts_that_are_estimates_say_so() -> None:
    assert "~30" in shown([Line(progress=progress(estimated=True))])


def test_of_a_failed_job_the_reason_is_shown() -> None:
    message = "Job entrypoint command failed with exit code 4, last available logs (...):\nx\nno!\n"
    assert f"{JOB}: no!" in shown([Line(Job(JOB, "FAILED", message=message))])


def test_following_shows_every_word_once_though_the_connection_breaks() -> None:
    jobs = running(Job(JOB, "SUCCEEDED"))
    jobs.said[JOB] = ["one ", "two ", "three"]
    jobs.breaks = 2
    heard: list[str] = []
    assert follow_job(jobs, JOB, console()[0], heard.append) == 0
    assert "".join(heard) == "one two three"


@pytest.mark.parametrize(
    ("job", "code", "says"),
    [
        (Job(JOB, "SUCCEEDED", exit_code=0), 0, "has ended"),
        (Job(JOB, "FAILED", exit_code=4), 4, "failed with exit code 4"),
        (Job(JOB, "FAILED", message="Node died\nmore"), 4, "failed: Node died"),
        (Job(JOB, "STOPPED"), 143, "was told to stop"),
    ],
)
def test_following_ends_as_the_job_does(job: Job, code: int, says: str) -> None:
    to, text = console()
    assert follow_job(running(job), JOB, to, lambda _: None) == code
    assert says in text.getvalue()


def test_ctrl_c_ends_the_looking_and_not_the_job() -> None:
    jobs = running(Job(JOB, "RUNNING"))
    jobs.said[JOB] = ["one"]

    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    to, text = console()
    assert follow_job(jobs, JOB, to, interrupted) == 0
    assert "goes on" in text.getvalue()
    assert not jobs.known[JOB].over


def test_logs_print_what_was_said_and_do_not_wait(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = running(Job(JOB, "RUNNING", metadata={"recipe": "cells"}))
    jobs.said[JOB] = ["one\n", "two\n"]
    assert logs(jobs, "cells", console()[0], follow=False) == 0
    assert capsys.readouterr().out == "one\ntwo\n"


def test_stop_waits_for_the_end_and_says_what_stays() -> None:
    jobs = running(Job(JOB, "RUNNING"))
    to, text = console()
    stop(jobs, JOB, to)
    assert jobs.known[JOB].state == "STOPPED"
    assert "stopped; what is committed stays" in text.getvalue()
    stop(jobs, JOB, to)
    assert "has ended before" in text.getvalue()
