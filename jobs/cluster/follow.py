"""A job's log as it comes, and the job's end as an exit code.

The connection may break and the job go on: what was shown is not shown again. Ctrl-C ends the
looking, not the job.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

from rich.console import Console

from jobs.cluster.api import Job, Jobs, find_job
from jobs.stopping import TERMINATED
from schemas.errors import ClusterError, RunError

Write = Callable[[str], object]

_BREAKS: Final = 5
"""In a row, without a word between them."""


def logs(jobs: Jobs, name: str, console: Console, follow: bool) -> int:
    """`noiseloom logs`: all that the job has said to stdout, and with `follow` what it will say.
    Returns the exit code of `ended`, or 0 where it still runs.
    """
    job = find_job(jobs, name)
    if follow:
        return follow_job(jobs, job.id, console)
    sys.stdout.write(jobs.log(job.id))
    sys.stdout.flush()
    return 0


def follow_job(jobs: Jobs, job: str, console: Console, write: Write | None = None) -> int:
    """Shows the log until the job has ended; its exit code."""
    shown = breaks = 0
    write = write or _to_stdout
    try:
        while True:
            seen = 0
            try:
                for text in jobs.tail(job):
                    seen += len(text)
                    if seen > shown:
                        write(text[len(text) - (seen - shown) :])
                        shown, breaks = seen, 0
                    if not text and find_job(jobs, job).over:
                        break
            except ClusterError:
                breaks += 1
                if breaks == _BREAKS:
                    raise
                continue
            found = find_job(jobs, job)
            if found.over:
                return ended(found, console)
    except KeyboardInterrupt:
        console.print(f"{job}: goes on; look again: noiseloom logs {job} --follow", highlight=False)
        return 0


def ended(job: Job, console: Console) -> int:
    """Says how a job has ended. The exit code is its command's; a stopped one's is that of
    SIGTERM, and one that the cluster has lost is a RunError's.
    """
    if job.state == "SUCCEEDED":
        console.print(f"{job.id}: has ended", highlight=False)
        return 0
    if job.state == "STOPPED":
        console.print(f"{job.id}: was told to stop", highlight=False)
        return TERMINATED  # for which `jobs.cli.main` says what stays
    if job.exit_code:
        console.print(f"{job.id}: failed with exit code {job.exit_code}", highlight=False)
        return job.exit_code
    first = next(iter(job.message.splitlines()), "the cluster does not say why")
    console.print(f"{job.id}: failed: {first}", markup=False, highlight=False, soft_wrap=True)
    return RunError.exit_code


def _to_stdout(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
