"""What a run really exports to Prometheus: `python -m tests.infra.exported RECIPE OUT`.

As `noiseloom run`, but that Ray exports its metrics on a port that is known, and as often as it
can. The agent is scraped all the while; a batch runs out of memory, too. Everything that was ever
said is written to OUT.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

from rich.console import Console

from jobs import ray_session
from jobs.run.augment import augment
from pipeline.metering import METRICS

PATIENCE_S: Final = 180.0
"""After the run, for what is not exported yet: nothing is late but on a machine that stalls."""

AGENT_S: Final = 25.0
STARTS: Final = 5


def main(recipe: Path, out: Path) -> None:
    often = {"RAY_metrics_report_interval_ms": "1000"}  # Ray's least; its own is 10 s
    os.environ.update(ray_session.QUIET | often, RAY_AUTH_TOKEN=secrets.token_hex(32))

    @contextmanager
    def session(num_cpus: int | None = None) -> Iterator[None]:
        with exporting(num_cpus) as address, scraped(address, Said(out)):
            run_out_of_memory()
            yield

    ray_session.ray_session = session  # type: ignore[assignment]
    augment(recipe, Console(quiet=True))


@contextmanager
def exporting(num_cpus: int | None) -> Iterator[str]:
    """Ray is up, and this is where its agent is. A process of Ray asks for the agent for half a
    minute after its start, and exports nothing where that is not up by then: on a machine that
    stalls it is started again.
    """
    import ray

    for _ in range(STARTS):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            log_to_driver=False,
            _metrics_export_port=port,
        )
        try:
            address = f"http://{ray.util.get_node_ip_address()}:{port}/metrics"
            if until(lambda at=address: answers(at), AGENT_S):
                yield address
                return
        finally:
            ray.shutdown()
    raise RuntimeError(f"the agent of Ray did not come up in {AGENT_S} s, {STARTS} times")


def answers(address: str) -> bool:
    """Whether the agent is up."""
    try:
        with urlopen(address, timeout=5):
            return True
    except OSError:
        return False


@contextmanager
def scraped(address: str, said: Said) -> Iterator[None]:
    """Again and again inside the block, and after it until every metric of ours was there."""
    over = Event()

    def scrape() -> None:
        while not over.wait(0.5):
            said.add(address)

    thread = Thread(target=scrape)
    thread.start()
    try:
        yield
        until(lambda: all(said.has(f"ray_{metric.name}") for metric in METRICS))
    finally:
        over.set()
        thread.join()


class Said:
    """The last value of everything that was ever exported, in the file as soon as it is known."""

    def __init__(self, out: Path) -> None:
        self.lines: dict[str, str] = {}
        self.out = out

    def add(self, address: str) -> None:
        try:
            with urlopen(address, timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except URLError:
            return  # the agent starts after Ray
        self.lines.update(line.rpartition(" ")[::2] for line in lines)
        self.out.write_text("".join(f"{name} {value}\n" for name, value in self.lines.items()))

    def has(self, name: str) -> bool:
        return any(line.startswith(name) for line in list(self.lines))


def until(there: Callable[[], object], seconds: float = PATIENCE_S) -> bool:
    """Waits for it; whether it came."""
    end = time.monotonic() + seconds
    while not (came := bool(there())) and time.monotonic() < end:
        time.sleep(0.5)
    return came


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
