"""`noiseloom stop JOB`: the run ends in order, and what is committed stays."""

from __future__ import annotations

import time
from typing import Final

from rich.console import Console

from jobs.cluster.api import STOP_S, Jobs, find_job
from schemas.errors import ClusterError

POLL_S: Final = 0.5
PATIENCE_S: Final = STOP_S + 30.0
"""Until the cluster has killed what did not end, and has noticed."""


def stop(jobs: Jobs, name: str, console: Console) -> None:
    """Returns when the job has ended; ClusterError where it has not within a minute."""
    job = find_job(jobs, name)
    if job.over:
        console.print(f"{job.id}: has ended before ({job.state.lower()})", highlight=False)
        return
    jobs.stop(job.id)
    console.print(f"{job.id}: is told to stop; it ends within {STOP_S} s", highlight=False)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = find_job(jobs, job.id)
        if found.over:
            says = "what is committed stays, the same submit goes on from there"
            console.print(
                f"{job.id}: {found.state.lower()}; {says}", highlight=False, soft_wrap=True
            )
            return
        time.sleep(POLL_S)
    raise ClusterError(
        f"{jobs.address}: {job.id}: has not ended within {PATIENCE_S:.0f} s; look: noiseloom logs "
        f"{job.id}"
    )
