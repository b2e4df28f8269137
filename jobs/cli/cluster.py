"""`noiseloom submit`, `status`, `logs` and `stop`: the options; the work is in `jobs/cluster`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="a recipe, as YAML")]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="a job's id, or its recipe's name")]
Address = Annotated[
    str,
    typer.Option(
        envvar="RAY_API_SERVER_ADDRESS", metavar="URL", help="the dashboard: http://head:8265"
    ),
]
Ca = Annotated[
    Path | None,
    typer.Option(
        envvar="REQUESTS_CA_BUNDLE", metavar="FILE", help="certificates to trust, for https"
    ),
]


def submit(
    recipe: RecipeFile,
    address: Address,
    follow: Annotated[
        bool, typer.Option("--follow", help="show what it says, and end as it ends")
    ] = False,
    working_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="for development: the code to run, from here")
    ] = None,
    shared: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR", help="a folder that all nodes have; again for more"),
    ] = None,
    driver_cpus: Annotated[
        float, typer.Option(min=0, help="for the process that runs the recipe; 0: on the head")
    ] = 0,
    driver_memory: Annotated[
        int, typer.Option(min=0, metavar="MIB", help="the same, of memory")
    ] = 0,
    ca: Ca = None,
) -> None:
    """Run a recipe as a job of a Ray cluster; once, however often it is submitted."""
    from jobs.cluster.connecting import connect, open_to_all, warn_of_risks
    from jobs.cluster.follow import follow_job
    from jobs.cluster.package import make_package
    from jobs.cluster.submit import Driver
    from jobs.cluster.submit import submit as start

    console = Console(stderr=True)
    folders = tuple(shared or ())
    package = make_package(recipe, folders, working_dir)
    jobs = connect(address, ca)
    warn_of_risks(address, open_to_all(address, ca), console)
    driver = Driver(driver_cpus, driver_memory * 2**20)
    job = start(jobs, package, console, driver, folders)
    if follow:
        raise typer.Exit(follow_job(jobs, job, console))


def status(
    name: Annotated[
        str | None,
        typer.Argument(metavar="JOB|SINK", help="a job, or a sink; all jobs if left out"),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            envvar="RAY_API_SERVER_ADDRESS", metavar="URL", help="the dashboard: http://head:8265"
        ),
    ] = None,
    ca: Ca = None,
) -> None:
    """Show how far runs are, from the cluster and their sinks, or from a sink alone."""
    from jobs.cluster import status as job
    from jobs.cluster.connecting import connect, jobs_or_none
    from schemas.errors import ClusterError

    console = Console(stderr=True)
    if name is not None and job.is_sink(name):
        lines = job.sink_lines(name, jobs_or_none(address, ca, console))
        job.print_lines(lines, job.wide_console(), f"{name}: no run has begun here")
        return
    if address is None:
        raise ClusterError(
            "--address: name the cluster (http://head:8265, or RAY_API_SERVER_ADDRESS), or a sink: "
            "noiseloom status SINK needs no cluster"
        )
    lines = job.status(connect(address, ca), name)
    job.print_lines(lines, job.wide_console(), f"{address}: no run was submitted there")


def logs(
    name: JobName,
    address: Address,
    follow: Annotated[
        bool, typer.Option("--follow", help="go on until the job has ended, and end as it does")
    ] = False,
    ca: Ca = None,
) -> None:
    """Print what a job has said."""
    from jobs.cluster.connecting import connect
    from jobs.cluster.follow import logs as show

    raise typer.Exit(show(connect(address, ca), name, Console(stderr=True), follow))


def stop(name: JobName, address: Address, ca: Ca = None) -> None:
    """End a job in order; what is committed stays."""
    from jobs.cluster.connecting import connect
    from jobs.cluster.stop import stop as end

    end(connect(address, ca), name, Console(stderr=True))
