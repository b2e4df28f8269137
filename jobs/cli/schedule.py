"""`noiseloom schedule`: the options; the work is in `jobs/schedule.py`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="a recipe, as YAML")]


class To(StrEnum):
    """What keeps the time; `jobs.schedule.Target`, here without its imports."""

    KUBERNETES = "kubernetes"
    KUBERAY = "kuberay"
    SYSTEMD = "systemd"
    CRON = "cron"


def schedule(
    recipe: RecipeFile,
    cron: Annotated[str, typer.Option(help='when: "0 2 * * *"')],
    timezone: Annotated[str, typer.Option(help="whose clock: Europe/Berlin")] = "UTC",
    to: Annotated[
        To,
        typer.Option(help="kubernetes: a CronJob that creates a RayJob; kuberay: a RayCronJob"),
    ] = To.KUBERNETES,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="a folder; stdout if left out")
    ] = None,
    deadline: Annotated[str, typer.Option(help="for one attempt: 90m, 6h")] = "6h",
    retries: Annotated[int, typer.Option(min=0, max=10, help="attempts after the first")] = 2,
    image: Annotated[
        str | None, typer.Option(help="on a cluster: registry/noiseloom@sha256:...")
    ] = None,
    namespace: Annotated[str, typer.Option(help="on a cluster")] = "noiseloom",
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="a Secret whose keys are variables; again for more"),
    ] = None,
    models_claim: Annotated[
        str, typer.Option(metavar="NAME", help="the volume claim at /models")
    ] = "noiseloom-models",
    nodes: Annotated[
        str | None, typer.Option(metavar="LABEL=VALUE", help="nodes for workers")
    ] = None,
    spot: Annotated[
        str | None,
        typer.Option(metavar="LABEL=VALUE", help="a second pool, on nodes that may be taken away"),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="of a worker: 24Gi [default: 4Gi a CPU, 24Gi a GPU]")
    ] = None,
) -> None:
    """Render a recipe's nights for whatever keeps the time; start nothing."""
    from jobs import schedule as job
    from jobs.scheduling.cloud import Cloud

    given = {"--secret": secret, "--nodes": nodes, "--spot": spot, "--memory": memory}
    told = [option for option, value in given.items() if value]
    if told and to in (To.SYSTEMD, To.CRON):
        raise typer.BadParameter(f"{', '.join(told)}: for clusters; --to {to} is this machine")
    cloud = None
    if image is not None:
        cloud = Cloud(image, namespace, tuple(secret or ()), models_claim, nodes, spot, memory)
    when = job.When(cron, timezone, deadline, retries)
    job.schedule(recipe, when, job.Target(to), cloud, out, Console(stderr=True))
