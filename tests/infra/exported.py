"""What a run really exports to Prometheus: `python -m tests.infra.exported RECIPE OUT`.

Ray is up with its metrics on a port; the recipe runs, a batch runs out of memory, and the agent is
scraped all the while. Everything it ever said is written to OUT.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

from jobs.ray_session import QUIET

PATIENCE_S: Final = 60.0
"""After the run, for what is not exported yet: nothing is late but on a machine that stalls."""


def main(recipe: Path, out: Path) -> None:
    often = {"RAY_metrics_report_interval_ms": "1000"}  # Ray's least; its own is 10 s
    os.environ.update(QUIET | often, RAY_AUTH_TOKEN=secrets.token_hex(32))
    import ray
    from rich.console import Console

    from jobs.plan import make_plan, write_plan
    from pipeline.flow import run_flow
    from pipeline.metering import METRICS

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    ray.init(
        address="local",
        num_cpus=3,
        include_dashboard=False,
        log_to_driver=False,
        _metrics_export_port=port,
    )
    address, said = f"http://{ray.util.get_node_ip_address()}:{port}/metrics", Said(out)
    planned = make_plan(recipe, Console(quiet=True))
    write_plan(planned)
    run_out_of_memory()
    attempts = planned.attempts
    for _ in run_flow(
        planned.chunks, planned.recipe, planned.run, planned.digest, "session", attempts
    ):
        said.add(address)
    until(lambda: said.add(address) and all(said.has(f"ray_{m.name}") for m in METRICS))
    ray.shutdown()


class Said:
    """The last value of everything that was ever exported, in the file as soon as it is known."""

    def __init__(self, out: Path) -> None:
        self.lines: dict[str, str] = {}
        self.out = out

    def add(self, address: str) -> bool:
        try:
            with urlopen(address, timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except URLError:
            return False  # the agent starts after Ray
        self.lines.update(line.rpartition(" ")[::2] for line in lines)
        self.out.write_text("".join(f"{name} {value}\n" for name, value in self.lines.items()))
        return True

    def has(self, name: str) -> bool:
        return any(line.startswith(name) for line in self.lines)


def until(there: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not there() and time.monotonic() < end:
        time.sleep(0.5)


def run_out_of_memory() -> None:
    """A batch of two, of which one fits; by an allocation that no machine has room for."""
    import torch

    from pipeline.diffusion.memory import made_in_batches

    def make(shape: tuple[int, int], positions: Sequence[int]) -> list[Any]:
        if len(positions) > 1:
            torch.empty(2**56)
        return list(positions)

    class Network:
        """Anything that can be remembered."""

    made_in_batches(Network(), [(64, 64)] * 2, 8, 2 * 64 * 64, make)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
