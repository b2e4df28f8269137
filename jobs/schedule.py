"""`noiseloom schedule RECIPE.yaml`: the night, rendered for a target, to a folder or to stdout.

Rendering reads the recipe alone: it asks no cluster, loads no model, and reads no shard. The same
recipe and options give the same bytes, so that what is committed shows what changed.
"""

from __future__ import annotations

import getpass
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from rich.console import Console

from jobs.scheduling.cloud import Cloud
from jobs.scheduling.crontab import render_cron
from jobs.scheduling.kuberay import render_kuberay
from jobs.scheduling.kubernetes import render_kubernetes
from jobs.scheduling.night import Files, Night, make_night
from jobs.scheduling.systemd import Machine, render_systemd
from pipeline.storage.trouble import storage_error
from schemas.errors import RecipeError, SinkError


class Target(StrEnum):
    """What keeps the time."""

    KUBERNETES = "kubernetes"
    KUBERAY = "kuberay"
    SYSTEMD = "systemd"
    CRON = "cron"


@dataclass(frozen=True)
class When:
    """When, for how long, how often again: as they are written on the command line."""

    cron: str
    timezone: str
    deadline: str
    retries: int


_ON_CLUSTERS: Final = {
    Target.KUBERNETES: render_kubernetes,
    Target.KUBERAY: render_kuberay,
}
_ON_MACHINES: Final[dict[Target, Callable[[Night, Machine], Files]]] = {
    Target.SYSTEMD: render_systemd,
    Target.CRON: render_cron,
}
_LARGE: Final = 128 * 2**10
"""`kubectl apply` keeps what it applied in an annotation, and a resource has 256 KiB of these; with
`--server-side` it needs none.
"""

_NEXT: Final = {
    Target.KUBERNETES: "kubectl apply {large}-k {folder}",
    Target.KUBERAY: "kubectl apply {large}-k {folder}",
    Target.SYSTEMD: (
        "sudo cp {folder}/{name}.* /etc/systemd/system/ && sudo systemctl daemon-reload && "
        "sudo systemctl enable --now {name}.timer"
    ),
    Target.CRON: "crontab -l | cat - {folder}/{name}.crontab | crontab -",
}


def schedule(
    file: Path, when: When, target: Target, cloud: Cloud | None, out: Path | None, console: Console
) -> None:
    """Renders the night; RecipeError where the target cannot have it."""
    night = make_night(file, when.cron, when.timezone, when.deadline, when.retries)
    files = rendered(night, target, cloud)
    if out is None:
        sys.stdout.write(joined(files, target))
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).write_text(text)
    except OSError as error:
        raise storage_error(error, f"--out {out}", SinkError) from error
    console.print(f"{out}: {', '.join(files)}", highlight=False, soft_wrap=True)
    large = any(len(text.encode()) > _LARGE for text in files.values())
    flag = "--server-side " if large else ""
    command = _NEXT[target].format(folder=out, name=night.name, large=flag)
    console.print(f"next: {command}", highlight=False, soft_wrap=True)


def rendered(night: Night, target: Target, cloud: Cloud | None) -> Files:
    """The files of the target."""
    if target in _ON_CLUSTERS:
        if cloud is None:
            raise RecipeError(
                f"--to {target}: needs --image, the container image by its digest: "
                "registry/noiseloom@sha256:..."
            )
        return _ON_CLUSTERS[target](night, cloud)
    if cloud is not None:
        raise RecipeError(f"--image is for clusters; --to {target} runs on this machine")
    return _ON_MACHINES[target](night, this_machine())


def this_machine() -> Machine:
    """As noiseloom runs now: this environment, this folder, this user."""
    executable = Path(sysconfig.get_path("scripts")) / "noiseloom"
    return Machine(Path.cwd(), executable, getpass.getuser())


def joined(files: Files, target: Target) -> str:
    """All files as one text: YAML documents that `kubectl apply -f -` takes, or files one after the
    other, each under its name.
    """
    if target in _ON_CLUSTERS:
        return "---\n".join(text for name, text in files.items() if name != "kustomization.yaml")
    return "\n".join(f"# {name}\n{text}" for name, text in files.items())
