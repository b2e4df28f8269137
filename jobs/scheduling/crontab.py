"""A crontab line.

`flock` keeps two nights apart, `timeout` is the deadline, a loop makes the retries, and `logger`
gives the output to the system's log, which has limits of its own. `CRON_TZ` is known to cronie
(Fedora, RHEL, Arch); another cron runs the line by the machine's own zone.
"""

from __future__ import annotations

import shlex
from typing import Final

from jobs.scheduling.night import RETRY_AFTER_S, Files, Night
from jobs.scheduling.systemd import STOP_S, Machine
from schemas.errors import RecipeError

LONGEST: Final = 990
"""Characters of a command that every cron takes."""


def render_cron(night: Night, machine: Machine) -> Files:
    """Lines for `crontab -e`."""
    command = _command(night, machine)
    if len(command) > LONGEST:
        raise RecipeError(
            f"{night.file}: the crontab line has {len(command)} characters, and cron takes "
            f"{LONGEST}; use shorter paths, or --to systemd"
        )
    return {
        f"{night.name}.crontab": f"""\
# noiseloom: {night.file.name}
# CRON_TZ is cronie's. Debian's cron and busybox do not know it: there the machine's zone counts.
CRON_TZ={night.timezone}
{night.cron.text} {command}
"""
    }


def _command(night: Night, machine: Machine) -> str:
    run = shlex.join([str(machine.executable), "run", str(night.file.absolute())])
    limited = f"timeout -k {STOP_S} {night.deadline_s} {run}"
    numbers = " ".join(str(number) for number in range(night.retries + 1))
    # 2: the recipe is wrong; 124: it ran out of time; neither is tried again
    attempts = (
        f"for n in {numbers}; do [ $n = 0 ] || sleep {RETRY_AFTER_S}; {limited} && exit; e=$?; "
        "case $e in 2|124|130|143) exit $e;; esac; done; exit $e"
    )
    lock = shlex.quote(f".{night.name}.lock")
    said = "failed, or the night before still runs"
    line = (
        f"cd {shlex.quote(str(machine.folder))} && "
        f"{{ flock -n {lock} sh -c {shlex.quote(attempts)} || echo {shlex.quote(said)}; }} "
        f"2>&1 | logger -t {night.name}"
    )
    if not line.isprintable():
        raise RecipeError(f"{night.file}: a path with characters that no crontab holds; rename it")
    return line.replace("%", r"\%")
