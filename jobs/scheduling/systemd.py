"""A systemd timer and its service.

systemd never starts a service that is still running, and `Persistent` makes up for a night that the
machine was off. The service has nothing but what it needs: no capabilities, the system read-only,
writing only where the recipe is started and where its sink is. Secrets come from a file that only
root and the service manager read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobs.lift.files import lift_test_of
from jobs.scheduling.cron import WEEKDAYS, Cron, Field, runs
from jobs.scheduling.night import RETRY_AFTER_S, Files, Night
from pipeline.storage.store import Store
from schemas.errors import RecipeError

STOP_S: Final = 60
"""noiseloom stops in order within 25 s (`jobs.stopping`)."""


@dataclass(frozen=True)
class Machine:
    """Where it runs: relative paths in the recipe are relative to `folder`."""

    folder: Path
    executable: Path
    user: str


def on_calendar(cron: Cron, timezone: str) -> list[str]:
    """The same times as systemd writes them. Two lines where cron takes either of two days."""
    clock = f"{_part(cron.hour)}:{_part(cron.minute)}:00 {timezone}"
    weekday = "" if cron.weekday.star else f"{_weekdays(cron.weekday)} "
    month, day = _part(cron.month), _part(cron.day)
    if cron.either_day:
        return [f"*-{month}-{day} {clock}", f"{weekday}*-{month}-* {clock}"]
    return [f"{weekday}*-{month}-{day} {clock}"]


def _part(field: Field) -> str:
    if field.star:
        return "*"
    return ",".join(f"{a:02d}" if a == b else f"{a:02d}..{b:02d}" for a, b in runs(field.values))


def _weekdays(field: Field) -> str:
    days = sorted((day or 7) for day in field.values)  # a week of systemd's ends with Sunday
    names = {day or 7: name.capitalize() for day, name in enumerate(WEEKDAYS)}
    spans = runs(tuple(days))
    return ",".join(names[a] if a == b else f"{names[a]}..{names[b]}" for a, b in spans)


def render_systemd(night: Night, machine: Machine) -> Files:
    """A service and a timer, for /etc/systemd/system."""
    return {
        f"{night.name}.service": _service(night, machine),
        f"{night.name}.timer": _timer(night),
    }


def _timer(night: Night) -> str:
    times = "\n".join(f"OnCalendar={line}" for line in on_calendar(night.cron, night.timezone))
    return f"""\
[Unit]
Description=noiseloom: when {_escaped(night.file.name)} runs

[Timer]
{times}
Persistent=true
AccuracySec=1min

[Install]
WantedBy=timers.target
"""


def _service(night: Night, machine: Machine) -> str:
    # Starts within this time count against each other; the next night's must not.
    window = min(night.longest_s, night.cron.shortest_gap_s() - 60)
    command = f"{_quoted(machine.executable)} run {_quoted(night.file.absolute())}"
    return f"""\
[Unit]
Description=noiseloom: {_escaped(night.file.name)}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec={max(window, 60)}
StartLimitBurst={night.retries + 1}

[Service]
Type=oneshot
User={machine.user}
WorkingDirectory={_escaped(str(machine.folder))}
# NAME=value lines for credentials (AWS_ACCESS_KEY_ID, HF_TOKEN); owned by root, mode 0600
EnvironmentFile=-/etc/noiseloom/{night.name}.env
Environment=TRITON_CACHE_DIR=%C/noiseloom/triton
CacheDirectory=noiseloom
ExecStart={command}
TimeoutStartSec={night.deadline_s}
TimeoutStopSec={STOP_S}
KillMode=mixed
Restart=on-failure
RestartSec={RETRY_AFTER_S}
# not again: a recipe that is wrong (2), a night that was told to stop or ran out of time (130, 143)
RestartPreventExitStatus=2 130 143
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={" ".join(_quoted(path) for path in _written(night, machine))}
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
UMask=0027
"""


def _written(night: Night, machine: Machine) -> list[Path]:
    """The folder that the recipe is started in (MLflow's file, a relative sink), and what else it
    writes to: the sink, and the results of its lift test.
    """
    test = lift_test_of(night.recipe)
    urls = [night.recipe.sink] if test is None else [night.recipe.sink, test.config.out]
    local = [path for path in (Store(url).local for url in urls) if path is not None]
    away = [path for path in local if not (machine.folder / path).is_relative_to(machine.folder)]
    return [machine.folder, *dict.fromkeys(away)]


def _escaped(text: str) -> str:
    if not text.isprintable():
        raise RecipeError(f"{text!r}: no name for a unit of systemd; rename it")
    return text.replace("%", "%%")


def _quoted(path: Path) -> str:
    text = _escaped(str(path)).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{text}"'
